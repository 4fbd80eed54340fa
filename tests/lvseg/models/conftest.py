"""Small networks of every kind."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from lvseg.models import ARCHITECTURES, NetworkOptions, SegmentationModel, build_model

SMALL = NetworkOptions(width=0.125, fc_channels=16)
KINDS = {
    **{architecture: (architecture, SMALL) for architecture in ARCHITECTURES},
    "torchvision's alexnet": ("fcn-alexnet", dataclasses.replace(SMALL, trunk="torchvision")),
}


@pytest.fixture(params=KINDS)
def make(request) -> Callable[..., SegmentationModel]:
    """Make a small network of each kind, its scores not the zeros that a new one starts with."""
    architecture, small = KINDS[request.param]

    def make(**options: object) -> SegmentationModel:
        torch.manual_seed(0)
        model = build_model(architecture, dataclasses.replace(small, **options)).eval()
        for name, weight in model.named_parameters():
            if ".score" in name:
                torch.nn.init.normal_(weight)
        return model

    return make
