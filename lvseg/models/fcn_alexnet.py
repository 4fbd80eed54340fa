"""FCN-AlexNet: AlexNet made fully convolutional, with one upsampling by 32."""

from functools import partial
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from lvseg.models.layers import Convolution, LocalResponseNorm, bilinear_upsampling, crop, score_layer
from lvseg.models.options import NetworkOptions, Padding, Trunk


class _Geometry(NamedTuple):
    """Where padding is added and where the score is cropped, in pixels of the map."""

    conv1: int
    """Padding of the first convolution."""
    pool: int
    """Padding of the three pools."""
    fc6: tuple[int, int]
    """Padding of fc6, before and after: its kernel is even and has no centre."""
    score: int
    """Offset of the slice in the upsampling."""


_GEOMETRY: dict[Padding, _Geometry] = {
    "lab": _Geometry(conv1=100, pool=0, fc6=(0, 0), score=18),
    # So padded, the cell (i, j) of fc7 looks at the pixel (32 i + 16, 32 j + 16), and the upsampling, whose
    # kernel peaks at 31, puts it there: 32 i + 31 - 15.
    "same": _Geometry(conv1=5, pool=1, fc6=(2, 3), score=15),
}


class _Trunk(NamedTuple):
    """What two AlexNets differ in; kernels, strides and pools are the same, and so is the geometry."""

    channels: tuple[int, int, int, int, int]
    groups: int
    """Of conv2, conv4 and conv5."""
    lrn: bool
    """Whether local response normalisation follows the first two pools."""


_TRUNKS: dict[Trunk, _Trunk] = {
    "published": _Trunk(channels=(96, 256, 384, 384, 256), groups=2, lrn=True),
    "torchvision": _Trunk(channels=(64, 192, 384, 256, 256), groups=1, lrn=False),
}


class FCNAlexNet(nn.Module):
    """Score each pixel for background and left ventricle, for slices of any size.

    Layers bear the names of the published prototxt.

    References:
        Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015;
        Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
        Networks", 2012; Krizhevsky, "One Weird Trick for Parallelizing Convolutional Neural Networks",
        2014 (the trunk of torchvision).
    """

    def __init__(self, options: NetworkOptions, *, classes: int = 2) -> None:
        super().__init__()
        self.options = options
        self.geometry = _GEOMETRY[options.padding]
        trunk = _TRUNKS[options.trunk]
        c1, c2, c3, c4, c5 = map(options.channels, trunk.channels)
        fc = options.fc_channels
        layer = partial(Convolution, norm=options.norm)
        self.conv1 = layer(options.input_channels, c1, kernel=11, stride=4, padding=self.geometry.conv1)
        self.conv2 = layer(c1, c2, kernel=5, padding=2, groups=trunk.groups)
        self.conv3 = layer(c2, c3, kernel=3, padding=1)
        self.conv4 = layer(c3, c4, kernel=3, padding=1, groups=trunk.groups)
        self.conv5 = layer(c4, c5, kernel=3, padding=1, groups=trunk.groups)
        pad = self.geometry.pool
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=pad, ceil_mode=pad == 0)
        self.lrn = LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=1.0) if trunk.lrn else nn.Identity()
        self.fc6 = layer(c5, fc, kernel=6)
        self.fc7 = layer(fc, fc, kernel=1)
        self.dropout = nn.Dropout(options.dropout)
        self.score_fr = score_layer(fc, classes)
        self.upscore = bilinear_upsampling(
            classes, kernel=63, stride=32, groups=classes, upsampling=options.upsampling
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, 2, H, W), background then left ventricle, of normalised planes (N, C, H, W)."""
        # The sizes are those of padding "same".
        pool1 = self.lrn(self.pool(self.conv1(image)))  # (N, c1, H/8, W/8)
        pool2 = self.lrn(self.pool(self.conv2(pool1)))  # (N, c2, H/16, W/16)
        pool5 = self.pool(self.conv5(self.conv4(self.conv3(pool2))))  # (N, c5, H/32, W/32)
        fc6 = self.dropout(self.fc6(functional.pad(pool5, 2 * self.geometry.fc6)))  # (N, fc, H/32, W/32)
        fc7 = self.dropout(self.fc7(fc6))
        return crop(self.upscore(self.score_fr(fc7)), image, self.geometry.score)  # (N, 2, H, W)
