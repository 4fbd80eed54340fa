"""The same network with fewer operations: one plane instead of three, no batch normalisation."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lvseg.models import SegmentationModel
from lvseg.models.layers import Convolution
from lvseg.models.normalise import EQUAL_PLANES


def fold_planes(model: SegmentationModel) -> SegmentationModel:
    """Return a model of one plane that scores as the given one does, or the given one where there is none.

    Where the three planes hold the same values, padding included, a convolution's sum over them is one
    plane times the sum of its weights. Where their means differ they are not the same in the border: a
    convolution pads with zero, which is another grey level in each plane.
    """
    options = model.network.options
    if options.input_channels == 1 or options.normalisation not in EQUAL_PLANES:
        return model
    weights = model.network.state_dict()
    name = f"{first_convolution(model.network)}.weight"
    weights[name] = weights[name].sum(dim=1, keepdim=True)
    return _rebuilt(model, weights, input_channels=1)


def fold_batch_norm(model: SegmentationModel) -> SegmentationModel:
    """Return a model without batch normalisation that scores as the given one does in evaluation mode."""
    if model.network.options.norm == "none":
        return model
    weights: dict[str, Tensor] = {
        name: value for name, value in model.network.state_dict().items() if ".norm." not in name
    }
    for name, layer in model.network.named_children():
        if isinstance(layer, Convolution) and isinstance(layer.norm, nn.BatchNorm2d):
            norm = layer.norm
            if norm.running_mean is None or norm.running_var is None:
                raise TypeError(f"{name} keeps no running statistics to fold")
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            weights[f"{name}.weight"] = (layer.weight * scale.view(-1, 1, 1, 1)).detach()
            weights[f"{name}.bias"] = (norm.bias - norm.running_mean * scale).detach()
    return _rebuilt(model, weights, norm="none")


def first_convolution(network: nn.Module) -> str:
    """Return the name of the layer that sees the planes."""
    return next(name for name, layer in network.named_children() if isinstance(layer, Convolution))


def _rebuilt(model: SegmentationModel, weights: Mapping[str, Tensor], **changes: Any) -> SegmentationModel:
    options = dataclasses.replace(model.network.options, **changes)
    rebuilt = SegmentationModel(type(model.network)(options))
    rebuilt.network.load_state_dict(weights)
    return rebuilt.train(model.training)
