"""Small models, exported once."""

from pathlib import Path

import pytest
import torch

from lvseg.models import ARCHITECTURES, NetworkOptions, SegmentationModel, build_model
from lvseg_export.onnx import write_onnx

SMALL = {
    padding: NetworkOptions(width=0.125, fc_channels=16, padding=padding, norm="batch")
    for padding in ("lab", "same")
}


@pytest.fixture(
    scope="session", params=[(architecture, padding) for architecture in ARCHITECTURES for padding in SMALL]
)
def exported(request, once) -> tuple[SegmentationModel, Path]:
    """A small model of each architecture that finds something, and its ONNX file."""
    torch.manual_seed(0)
    model = build_model(request.param[0], SMALL[request.param[1]]).eval()
    for name, weight in model.named_parameters():
        if ".score" in name:
            torch.nn.init.normal_(weight, std=0.3)
    with torch.no_grad():
        background, foreground = model(torch.rand(1, 1, 256, 256)).unbind(dim=1)
        model.network.score_fr.bias[1] -= (foreground - background).median()
    path = once("onnx/" + "-".join((*request.param, "model.onnx")), lambda path: write_onnx(model, path))
    return model, path
