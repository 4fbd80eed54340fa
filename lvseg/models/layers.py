"""Layers that both networks are made of."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lvseg.models.options import Norm, Upsampling

OnnxAttribute = int | float | str | bool | Sequence[int] | Sequence[float] | Sequence[str] | Sequence[bool]


class Convolution(nn.Conv2d):
    """Convolution, normalisation if wanted, ReLU.

    Weight and bias are the layer's own, so that they bear the names that published weights have. A
    bias before a batch normalisation would do nothing, and is left out.

    It starts after He et al. 2015, "Delving Deep into Rectifiers", with the bias at zero.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        *,
        norm: Norm,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding, groups=groups, bias=norm == "none")
        nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        if self.bias is not None:
            nn.init.zeros_(self.bias)
        self.norm = nn.BatchNorm2d(outputs) if norm == "batch" else nn.Identity()

    def forward(self, image: Tensor) -> Tensor:
        """Return (N, outputs, H', W') of (N, inputs, H, W), none of it below zero."""
        return functional.relu(self.norm(super().forward(image)), inplace=True)


class LocalResponseNorm(nn.LocalResponseNorm):
    """Local response normalisation that stays one LRN node in ONNX.

    The exporter would take PyTorch's layer apart into a padded 3-D average pooling, which other
    runtimes neither recognise nor run fast. Both definitions divide alpha by the window's size.
    Computed in float32, whatever the type of the layers around it: its squares overflow float16.

    References:
        Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
        Networks", 2012, section 3.3.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over neighbouring channels."""
        full = image.to(torch.float32)
        if not torch.onnx.is_in_onnx_export():
            return super().forward(full).to(image.dtype)
        attributes: dict[str, OnnxAttribute] = {
            "size": self.size,
            "alpha": self.alpha,
            "beta": self.beta,
            "bias": self.k,
        }
        normalised = torch.onnx.ops.symbolic(
            "LRN", (full,), attributes, dtype=full.dtype, shape=full.shape, version=13
        )
        return normalised.to(image.dtype)


def score_layer(inputs: int, classes: int) -> nn.Conv2d:
    """Return a 1 x 1 convolution to class scores that starts at zero: every pixel undecided.

    With random scores the first steps of training do little but undo them.
    """
    layer = nn.Conv2d(inputs, classes, kernel_size=1)
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def bilinear_upsampling(
    channels: int, *, kernel: int, stride: int, groups: int = 1, upsampling: Upsampling = "fixed"
) -> nn.ConvTranspose2d:
    """Return an upsampling that is, or starts as, bilinear interpolation of each channel on its own.

    Args:
        channels: Of the input and of the output.
        kernel: Side of the kernel in pixels of the output.
        stride: By how much it enlarges.
        groups: 1 for a weight that could mix channels, ``channels`` for one that cannot.
        upsampling: Whether its weight is trained.

    References:
        Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015,
        section 3.3.
    """
    layer = nn.ConvTranspose2d(channels, channels, kernel, stride, groups=groups, bias=False)
    ramp = (1 - (torch.arange(kernel) - (kernel - 1) / 2).abs() / stride).clamp(min=0)
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, channel if groups == 1 else 0] = torch.outer(ramp, ramp)
    return layer.requires_grad_(upsampling == "learned")


def crop(image: Tensor, like: Tensor, offset: int) -> Tensor:
    """Cut (N, C, H, W) to the height and width of ``like``, from ``offset`` rows and columns on."""
    rows, columns = like.shape[-2:]
    return image[..., offset : offset + rows, offset : offset + columns]


def max_pool(image: Tensor) -> Tensor:
    """Halve height and width, rounded up: an odd last row or column keeps a cell of its own."""
    return functional.max_pool2d(image, kernel_size=2, stride=2, ceil_mode=True)
