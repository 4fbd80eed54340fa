"""A network looked at layer by layer: what each makes of a slice, and its weights."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from lvseg.models import SegmentationModel
from lvseg.models.layers import Convolution
from lvseg.train.report.tiles import Colours, tiles

BINS = 40
"""Bars of a histogram."""
MOST_TILES = 16
"""Channels, or kernels, that a picture shows."""

_AT_ONCE = 1 << 20  # values of a weight that are copied at a time
_MATRIX_SIDE = 64  # of a 1 x 1 kernel's weight


@dataclass(frozen=True, eq=False)
class Statistics:
    """Of all the values of a tensor."""

    shape: tuple[int, ...]
    mean: float
    sd: float
    """Of the values as they are: divided by n."""
    low: float
    high: float
    counts: NDArray[np.int64]
    """Values in each of ``BINS`` equal steps from ``low`` to ``high``."""

    @classmethod
    def of(cls, tensor: Tensor) -> "Statistics":
        """Compute them part by part: the largest layer has a hundred million weights."""
        tensor = tensor.detach()
        rows = max(1, _AT_ONCE * len(tensor) // tensor.numel())
        low, high = float(tensor.min()), float(tensor.max())
        span = (low, high) if high > low else (low - 0.5, high + 0.5)
        total = squares = 0.0
        counts = np.zeros(BINS, dtype=np.int64)
        for start in range(0, len(tensor), rows):
            values = tensor[start : start + rows].double().cpu().numpy().ravel()
            total += float(values.sum())
            squares += float(np.square(values).sum())
            counts += np.histogram(values, BINS, span)[0]
        mean = total / tensor.numel()
        variance = max(0.0, squares / tensor.numel() - mean**2)
        return cls(tuple(tensor.shape), mean, variance**0.5, low, high, counts)


@dataclass(frozen=True, eq=False)
class View:
    """A tensor of a network, looked at."""

    layer: str
    what: str
    """What the layer does, or which of its weights this is."""
    statistics: Statistics
    picture: Image.Image
    shown: str
    """Which channels or kernels the picture holds."""


def activations(model: SegmentationModel, pixels: Tensor) -> list[View]:
    """Return what the model makes of a slice (1, 1, H, W), from its pixels to the probability.

    Each tensor is looked at when it is made and kept no longer.
    """
    onlooker = _Onlooker()
    handles = [model.normalise.register_forward_hook(onlooker.see_planes)]
    handles += [
        layer.register_forward_hook(partial(onlooker.see, name)) for name, layer in _layers(model.network)
    ]
    try:
        with torch.inference_mode(), onlooker:
            scores = model(pixels)
    finally:
        for handle in handles:
            handle.remove()
    return [
        _image_view("pixels", "on the working grid", pixels, "gray"),
        *onlooker.views,
        _image_view("score", "cut to the slice: background, ventricle", scores),
        _image_view("probability", "of left ventricle", torch.softmax(scores, dim=1)[:, 1:]),
    ]


class _Onlooker(TorchFunctionMode):
    """Looks at the output of layers, and of each pooling, which may be a function as well as a layer.

    What has no weights may be used several times: it is named after the last layer that has some.
    """

    def __init__(self) -> None:
        super().__init__()
        self.views: list[View] = []
        self._last = ""

    def see_planes(self, _: nn.Module, __: object, output: Tensor) -> None:
        """Look at the normalised slice."""
        self.views.append(_image_view("normalised", "what the network sees", output, "gray"))

    def see(self, name: str, layer: nn.Module, _: object, output: Tensor) -> None:
        """Look at the output of a layer."""
        if next(layer.parameters(), None) is None:
            name = f"{name} after {self._last}"
        else:
            self._last = name
        self.views.append(_image_view(name, _describe(layer), output))

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        output = function(*args, **(kwargs or {}))
        if function is functional.max_pool2d:
            self.views.append(
                _image_view(f"pool after {self._last}", "largest of neighbouring values", output)
            )
        return output


def weights(model: SegmentationModel) -> list[tuple[View, list[tuple[str, Statistics]]]]:
    """Return each layer's weight, looked at, and the names and statistics of whatever else it has learned."""
    found = []
    for name, layer in _layers(model.network):
        state = {key: value for key, value in layer.state_dict().items() if value.is_floating_point()}
        if not state:
            continue
        weight = state.pop("weight")
        picture, shown = _kernels(layer, weight)
        others = [(key, Statistics.of(value)) for key, value in state.items()]
        found.append((View(name, _describe(layer), Statistics.of(weight), picture, shown), others))
    return found


def parameters(model: SegmentationModel) -> int:
    """Return how many parameters are trained."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def _layers(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers that do something when a slice is segmented, by name, but for poolings."""
    for name, layer in network.named_children():
        if not isinstance(layer, (nn.Identity, nn.Dropout, nn.MaxPool2d)):
            yield name, layer


def _describe(layer: nn.Module) -> str:
    match layer:
        case Convolution():
            steps = [_kernel("convolution", layer), "batch normalisation", "ReLU"]
            return ", ".join(steps if isinstance(layer.norm, nn.BatchNorm2d) else steps[::2])
        case nn.ConvTranspose2d():
            return _kernel("upsampling", layer)
        case nn.Conv2d():
            return _kernel("convolution", layer)
        case nn.LocalResponseNorm():
            return f"local response normalisation over {layer.size} channels"
        case _:
            return type(layer).__name__


def _kernel(name: str, layer: nn.Conv2d | nn.ConvTranspose2d) -> str:
    rows, columns = layer.kernel_size
    stride = f", stride {layer.stride[0]}" if layer.stride[0] > 1 else ""
    groups = f", {layer.groups} groups" if layer.groups > 1 else ""
    return f"{name} {rows} x {columns}{stride}{groups}"


def _image_view(layer: str, what: str, values: Tensor, colours: Colours = "viridis") -> View:
    channels = values.shape[1]
    first = values[0, :MOST_TILES].float().cpu().numpy()
    shown = f"channels 1 to {len(first)} of {channels}" if channels > len(first) else "all channels"
    return View(layer, what, Statistics.of(values[0]), tiles(first, colours), shown if channels > 1 else "")


def _kernels(layer: nn.Module, weight: Tensor) -> tuple[Image.Image, str]:
    """Return a picture of a weight and what it shows."""
    outputs, inputs, rows, columns = weight.shape
    if rows == columns == 1:
        matrix = weight[:_MATRIX_SIDE, :_MATRIX_SIDE, 0, 0].float().cpu().numpy()
        shown = (
            f"{matrix.shape[0]} outputs (down) of {outputs}, {matrix.shape[1]} inputs (across) of {inputs}"
        )
        return tiles(matrix[np.newaxis], "RdBu_r"), shown
    if isinstance(layer, nn.ConvTranspose2d):
        kernels = weight.flatten(0, 1)[:MOST_TILES]
        return tiles(kernels.float().cpu().numpy(), "RdBu_r"), "each input to each output it reaches"
    kernels = weight[:MOST_TILES, 0]
    shown = f"outputs 1 to {len(kernels)} of {outputs}, from input 1 of {inputs}"
    return tiles(kernels.float().cpu().numpy(), "RdBu_r"), shown
