"""FCN-8s: VGG-16 made fully convolutional, with skips from the third and fourth pooling."""

from functools import partial
from typing import NamedTuple

from torch import Tensor, nn

from lvseg.errors import OptionError
from lvseg.models.layers import Convolution, bilinear_upsampling, crop, max_pool, score_layer
from lvseg.models.options import NetworkOptions, Padding


class _Geometry(NamedTuple):
    """Where padding is added and where maps are cropped, in pixels of the map."""

    conv1_1: int
    """Padding of the first convolution."""
    fc6: int
    """Padding of fc6."""
    pool4: int
    """Offset at which the coarse score and pool4's meet."""
    pool3: int
    """The same for pool3's."""
    score: int
    """Offset of the slice in the last upsampling."""


_GEOMETRY: dict[Padding, _Geometry] = {
    "lab": _Geometry(conv1_1=100, fc6=0, pool4=5, pool3=9, score=31),
    "same": _Geometry(conv1_1=1, fc6=3, pool4=1, pool3=1, score=4),
}


class FCN8s(nn.Module):
    """Score each pixel for background and left ventricle, for slices of any size.

    Layers bear the names of the published prototxt. Pools round up and maps are cropped to each other's
    size, so that any slice keeps a cell for its last rows and columns.

    References:
        Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015;
        Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015.

    Raises:
        OptionError: If another trunk is asked for.
    """

    def __init__(self, options: NetworkOptions, *, classes: int = 2) -> None:
        super().__init__()
        if options.trunk != "published":
            raise OptionError(
                f"fcn-8s has one trunk, got {options.trunk!r}: torchvision's VGG-16 is the published one; "
                "leave --trunk out",
                reason="UNKNOWN_TRUNK",
                field="--trunk",
            )
        self.options = options
        self.geometry = _GEOMETRY[options.padding]
        c1, c2, c3, c4, c5 = map(options.channels, (64, 128, 256, 512, 512))
        fc = options.fc_channels
        layer = partial(Convolution, norm=options.norm)
        conv = partial(layer, kernel=3, padding=1)
        self.conv1_1 = layer(options.input_channels, c1, kernel=3, padding=self.geometry.conv1_1)
        self.conv1_2 = conv(c1, c1)
        self.conv2_1 = conv(c1, c2)
        self.conv2_2 = conv(c2, c2)
        self.conv3_1 = conv(c2, c3)
        self.conv3_2 = conv(c3, c3)
        self.conv3_3 = conv(c3, c3)
        self.conv4_1 = conv(c3, c4)
        self.conv4_2 = conv(c4, c4)
        self.conv4_3 = conv(c4, c4)
        self.conv5_1 = conv(c4, c5)
        self.conv5_2 = conv(c5, c5)
        self.conv5_3 = conv(c5, c5)
        self.fc6 = layer(c5, fc, kernel=7, padding=self.geometry.fc6)
        self.fc7 = layer(fc, fc, kernel=1)
        self.dropout = nn.Dropout(options.dropout)
        self.score_fr = score_layer(fc, classes)
        self.score_pool4 = score_layer(c4, classes)
        self.score_pool3 = score_layer(c3, classes)
        upsample = partial(bilinear_upsampling, classes, upsampling=options.upsampling)
        self.upscore2 = upsample(kernel=4, stride=2)
        self.upscore_pool4 = upsample(kernel=4, stride=2)
        self.upscore8 = upsample(kernel=16, stride=8)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, 2, H, W), background then left ventricle, of normalised planes (N, C, H, W)."""
        # The sizes are those of padding "same".
        pool1 = max_pool(self.conv1_2(self.conv1_1(image)))  # (N, c1, H/2, W/2)
        pool2 = max_pool(self.conv2_2(self.conv2_1(pool1)))  # (N, c2, H/4, W/4)
        pool3 = max_pool(self.conv3_3(self.conv3_2(self.conv3_1(pool2))))  # (N, c3, H/8, W/8)
        pool4 = max_pool(self.conv4_3(self.conv4_2(self.conv4_1(pool3))))  # (N, c4, H/16, W/16)
        pool5 = max_pool(self.conv5_3(self.conv5_2(self.conv5_1(pool4))))  # (N, c5, H/32, W/32)
        fc7 = self.dropout(self.fc7(self.dropout(self.fc6(pool5))))  # (N, fc, H/32, W/32)

        fuse4 = self._fuse(self.upscore2(self.score_fr(fc7)), self.score_pool4(pool4), self.geometry.pool4)
        fuse3 = self._fuse(self.upscore_pool4(fuse4), self.score_pool3(pool3), self.geometry.pool3)
        return crop(self.upscore8(fuse3), image, self.geometry.score)  # (N, 2, H, W)

    def _fuse(self, upscore: Tensor, skip: Tensor, offset: int) -> Tensor:
        if self.options.padding == "lab":  # the skip reaches further into the padding
            return upscore + crop(skip, upscore, offset)
        return crop(upscore, skip, offset) + skip  # the kernel reaches over the edge
