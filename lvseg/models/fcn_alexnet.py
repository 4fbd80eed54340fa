"""FCN-AlexNet: AlexNet made fully convolutional, with one upsampling by 32."""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from lvseg.models.layers import (
    LocalResponseNorm,
    bilinear_upsampling,
    convolution,
    crop_like,
    initialise,
    score_layer,
)


@dataclass(frozen=True, kw_only=True)
class FCNAlexNetOptions:
    """What may differ between two FCN-AlexNets; a bundle records it."""

    fc_channels: int = 256
    """Channels of fc6 and fc7; 4096 in AlexNet."""
    batch_norm: bool = True
    """Batch normalisation after each convolution: what makes training from random weights work."""
    dropout: float = 0.5
    """Share of fc6's and fc7's channels that a training step leaves out."""

    def __post_init__(self) -> None:
        if self.fc_channels < 1:
            raise ValueError(f"fc_channels must be at least 1, got {self.fc_channels}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")


class FCNAlexNet(nn.Module):
    """Score each pixel for background and left ventricle, for slices of any size.

    Strides, kernels, groups and LRN layers are AlexNet's; the paddings are chosen so that the cell
    (i, j) of fc7 looks at the pixel (32 i + 16, 32 j + 16), which is where the last upsampling
    (kernel 63, stride 32, padding 15) puts it back. (The published network pads the slice by 100
    pixels instead.)

    References:
        Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation", 2015;
        Krizhevsky, Sutskever, Hinton, "ImageNet Classification with Deep Convolutional Neural
        Networks", 2012.
    """

    def __init__(self, options: FCNAlexNetOptions, *, classes: int = 2) -> None:
        super().__init__()
        norm, fc = options.batch_norm, options.fc_channels
        self.conv1 = convolution(1, 96, 11, stride=4, padding=5, batch_norm=norm)
        self.conv2 = convolution(96, 256, 5, padding=2, groups=2, batch_norm=norm)
        self.conv3 = convolution(256, 384, 3, padding=1, batch_norm=norm)
        self.conv4 = convolution(384, 384, 3, padding=1, groups=2, batch_norm=norm)
        self.conv5 = convolution(384, 256, 3, padding=1, groups=2, batch_norm=norm)
        self.pool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.lrn = LocalResponseNorm(size=5, alpha=1e-4, beta=0.75, k=1.0)
        self.fc6 = convolution(256, fc, 6, batch_norm=norm)
        self.fc7 = convolution(fc, fc, 1, batch_norm=norm)
        self.dropout = nn.Dropout2d(options.dropout)
        initialise(self)
        self.score = score_layer(fc, classes)
        self.up32 = bilinear_upsampling(classes, kernel=63, stride=32, padding=15)

    def forward(self, image: Tensor) -> Tensor:
        """Return logits (N, 2, H, W), background then left ventricle, of normalised slices (N, 1, H, W)."""
        pool1 = self.lrn(self.pool(self.conv1(image)))  # (N, 96, H/8, W/8)
        pool2 = self.lrn(self.pool(self.conv2(pool1)))  # (N, 256, H/16, W/16)
        pool5 = self.pool(self.conv5(self.conv4(self.conv3(pool2))))  # (N, 256, H/32, W/32)
        # An even kernel has no centre: 2 before and 3 after puts its window half a cell, 16 pixels, on.
        fc6 = self.dropout(self.fc6(functional.pad(pool5, (2, 3, 2, 3))))  # (N, fc, H/32, W/32)
        fc7 = self.dropout(self.fc7(fc6))
        return crop_like(self.up32(self.score(fc7)), image)  # (N, 2, H, W)
