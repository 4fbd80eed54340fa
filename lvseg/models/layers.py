"""Layers that both networks are made of."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

OnnxAttribute = int | float | str | bool | Sequence[int] | Sequence[float] | Sequence[str] | Sequence[bool]


class LocalResponseNorm(nn.LocalResponseNorm):
    """Local response normalisation that stays one LRN node in ONNX.

    The exporter would take PyTorch's layer apart into a padded 3-D average pooling, which other
    runtimes neither recognise nor run fast. Both definitions divide alpha by the window's size.

    References:
        Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
        Networks", 2012, section 3.3.
    """

    def forward(self, image: Tensor) -> Tensor:
        """Normalise (N, C, H, W) over neighbouring channels."""
        if not torch.onnx.is_in_onnx_export():
            return super().forward(image)
        attributes: dict[str, OnnxAttribute] = {
            "size": self.size,
            "alpha": self.alpha,
            "beta": self.beta,
            "bias": self.k,
        }
        return torch.onnx.ops.symbolic(
            "LRN", (image,), attributes, dtype=image.dtype, shape=image.shape, version=13
        )


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    batch_norm: bool,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
) -> nn.Sequential:
    """Return convolution, batch normalisation if wanted, ReLU. A bias before a normalisation does nothing."""
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=not batch_norm)
    ]
    if batch_norm:
        layers.append(nn.BatchNorm2d(outputs))
    layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)


def score_layer(inputs: int, classes: int) -> nn.Conv2d:
    """Return a 1 x 1 convolution to class scores that starts at zero: every pixel undecided.

    With random scores the first steps of training do little but undo them.
    """
    layer = nn.Conv2d(inputs, classes, kernel_size=1)
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def bilinear_upsampling(channels: int, kernel: int, stride: int, padding: int) -> nn.ConvTranspose2d:
    """Return a learnable upsampling that starts as bilinear interpolation, each channel on its own.

    References:
        Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015,
        section 3.3.
    """
    layer = nn.ConvTranspose2d(channels, channels, kernel, stride, padding, bias=False)
    centre = (kernel - 1) / 2
    ramp = 1 - (torch.arange(kernel) - centre).abs() / stride
    ramp = ramp.clamp(min=0)
    with torch.no_grad():
        layer.weight.zero_()
        for channel in range(channels):
            layer.weight[channel, channel] = torch.outer(ramp, ramp)
    return layer


def initialise(network: nn.Module) -> None:
    """Start the trunk after He et al. 2015, "Delving Deep into Rectifiers", with biases at zero."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def crop_like(image: Tensor, reference: Tensor) -> Tensor:
    """Cut (N, C, H, W) at the bottom and right to the height and width of ``reference``."""
    rows, columns = reference.shape[-2:]
    return image[..., :rows, :columns]


def max_pool_ceil(image: Tensor) -> Tensor:
    """Halve height and width, rounded up: an odd last row or column keeps a cell of its own."""
    return functional.max_pool2d(image, kernel_size=2, stride=2, ceil_mode=True)
