"""FCN-8s: VGG-16 made fully convolutional, with skips from the third and fourth pooling."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from lvseg.models.layers import (
    bilinear_upsampling,
    convolution,
    crop_like,
    initialise,
    max_pool_ceil,
    score_layer,
)


@dataclass(frozen=True, kw_only=True)
class FCN8sOptions:
    """What may differ between two FCN-8s; a bundle records it."""

    width: float = 0.5
    """Channels of the trunk as a share of VGG-16's 64, 128, 256, 512, 512."""
    fc_channels: int = 256
    """Channels of fc6 and fc7; 4096 in VGG-16."""
    batch_norm: bool = True
    """Batch normalisation after each convolution: what makes training from random weights work."""
    dropout: float = 0.5
    """Share of fc6's and fc7's channels that a training step leaves out."""

    def __post_init__(self) -> None:
        if not 0 < self.width <= 1:
            raise ValueError(f"width must be above 0 and at most 1, got {self.width}")
        if self.fc_channels < 1:
            raise ValueError(f"fc_channels must be at least 1, got {self.fc_channels}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")


class FCN8s(nn.Module):
    """Score each pixel for background and left ventricle, for slices of any size.

    Every pooling rounds up and every upsampled map is cut to the size of its skip, so no size needs
    padding around the slice. (The published network pads by 100 pixels instead and crops by a
    constant; that triples the work on a 256 x 256 slice.)

    References:
        Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015;
        Simonyan, Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015.
    """

    def __init__(self, options: FCN8sOptions, *, classes: int = 2) -> None:
        super().__init__()
        c1, c2, c3, c4, c5 = (
            max(1, round(channels * options.width)) for channels in (64, 128, 256, 512, 512)
        )
        norm, fc = options.batch_norm, options.fc_channels

        def block(inputs: int, outputs: int, depth: int) -> nn.Sequential:
            channels = [inputs, *[outputs] * depth]
            return nn.Sequential(
                *(
                    convolution(before, after, 3, padding=1, batch_norm=norm)
                    for before, after in pairwise(channels)
                )
            )

        self.conv1 = block(1, c1, 2)
        self.conv2 = block(c1, c2, 2)
        self.conv3 = block(c2, c3, 3)
        self.conv4 = block(c3, c4, 3)
        self.conv5 = block(c4, c5, 3)
        self.fc6 = convolution(c5, fc, 7, padding=3, batch_norm=norm)
        self.fc7 = convolution(fc, fc, 1, batch_norm=norm)
        self.dropout = nn.Dropout2d(options.dropout)
        initialise(self)
        self.score = score_layer(fc, classes)
        self.score_pool4 = score_layer(c4, classes)
        self.score_pool3 = score_layer(c3, classes)
        self.up2 = bilinear_upsampling(classes, kernel=4, stride=2, padding=1)
        self.up_pool4 = bilinear_upsampling(classes, kernel=4, stride=2, padding=1)
        self.up8 = bilinear_upsampling(classes, kernel=16, stride=8, padding=4)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, 2, H, W), background then left ventricle, of normalised slices (N, 1, H, W)."""
        pool2 = max_pool_ceil(self.conv2(max_pool_ceil(self.conv1(image))))  # (N, c2, H/4, W/4)
        pool3 = max_pool_ceil(self.conv3(pool2))  # (N, c3, H/8, W/8)
        pool4 = max_pool_ceil(self.conv4(pool3))  # (N, c4, H/16, W/16)
        pool5 = max_pool_ceil(self.conv5(pool4))  # (N, c5, H/32, W/32)
        fc7 = self.dropout(self.fc7(self.dropout(self.fc6(pool5))))  # (N, fc, H/32, W/32)
        coarse = self.score_pool4(pool4) + crop_like(self.up2(self.score(fc7)), pool4)  # (N, 2, H/16, W/16)
        fine = self.score_pool3(pool3) + crop_like(self.up_pool4(coarse), pool3)  # (N, 2, H/8, W/8)
        return crop_like(self.up8(fine), image)  # (N, 2, H, W)
