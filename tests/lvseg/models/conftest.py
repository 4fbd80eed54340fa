"""Small networks of every kind."""

import dataclasses
from collections.abc import Callable

import pytest
import torch

from lvseg.models import ARCHITECTURES, NetworkOptions, SegmentationModel, build_model

SMALL = NetworkOptions(width=0.125, fc_channels=16)


@pytest.fixture(params=ARCHITECTURES)
def make(request) -> Callable[..., SegmentationModel]:
    """Make a small network of each architecture, its scores not the zeros that a new one starts with."""

    def make(**options: object) -> SegmentationModel:
        torch.manual_seed(0)
        model = build_model(request.param, dataclasses.replace(SMALL, **options)).eval()
        for name, weight in model.named_parameters():
            if ".score" in name:
                torch.nn.init.normal_(weight)
        return model

    return make
