"""What may differ between two networks of one kind."""

from dataclasses import dataclass, fields
from typing import Literal, get_args

Padding = Literal["lab", "same"]
Norm = Literal["none", "batch"]
Upsampling = Literal["fixed", "learned"]
Trunk = Literal["published", "torchvision"]
Normalisation = Literal["z-score", "raw-116", "grey-116", "bgr-means", "imagenet"]

_CHOICES = {
    "padding": Padding,
    "norm": Norm,
    "upsampling": Upsampling,
    "trunk": Trunk,
    "normalisation": Normalisation,
}


@dataclass(frozen=True, kw_only=True)
class NetworkOptions:
    """Options of FCN-8s and FCN-AlexNet; a run and a bundle record them. The defaults are as published.

    Raises:
        ValueError: If a value is impossible; the message names the option.
    """

    input_channels: int = 1
    """1, or 3 for weights that were trained on colour: each plane then holds the slice."""
    normalisation: Normalisation = "z-score"
    """What the planes hold. ``"z-score"``: z-score, clamp at -2 and 3, z-score. ``"raw-116"``: the slice's own
    pixels minus 116. The others, for weights trained on photographs, map the clamp's range to a photograph's
    and go on as those weights' training did: ``"grey-116"`` 0..255, minus 116 (the lab's FCN-AlexNet);
    ``"bgr-means"`` 0..255, minus 104.007, 116.669 and 122.679 (Caffe's VGG-16, FCN-8s); ``"imagenet"`` 0..1,
    minus torchvision's means, over its deviations. The last two have three planes that differ."""
    trunk: Trunk = "published"
    """``"published"``, or for FCN-AlexNet ``"torchvision"``: 64, 192, 384, 256 and 256 channels, no groups, no
    local response normalisation. torchvision's VGG-16 is the published one."""
    padding: Padding = "lab"
    """``"lab"``, as published: 100 pixels around the slice, and crops at fixed offsets. ``"same"``: every
    map is as large as its stride says, a third of the work on a slice of 256 x 256."""
    fc_channels: int = 4096
    """Channels of fc6 and fc7."""
    width: float = 1.0
    """Channels of the trunk as a share of the published ones."""
    norm: Norm = "none"
    """``"none"``, as published, or ``"batch"``: batch normalisation after each convolution of trunk, fc6
    and fc7, which makes training from random weights work and folds away at export."""
    upsampling: Upsampling = "fixed"
    """``"fixed"``, as published: bilinear. ``"learned"``: it starts bilinear and is trained."""
    dropout: float = 0.5
    """Share of fc6's and fc7's values that a training step leaves out."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(field.default, (int, float)) and (
                isinstance(value, bool) or not isinstance(value, (int, float))
            ):
                raise ValueError(f"{field.name} must be a number, got {value!r}")
        if self.input_channels not in (1, 3):
            raise ValueError(f"input_channels must be 1 or 3, got {self.input_channels}")
        for name, kind in _CHOICES.items():
            if getattr(self, name) not in get_args(kind):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(kind))}, got {getattr(self, name)!r}"
                )
        if self.normalisation in ("bgr-means", "imagenet") and self.input_channels != 3:
            raise ValueError(
                f"normalisation {self.normalisation} gives three planes that differ: input_channels must be 3, "
                f"got {self.input_channels}"
            )
        if self.fc_channels < 1 or self.fc_channels != int(self.fc_channels):
            raise ValueError(f"fc_channels must be a whole number above 0, got {self.fc_channels}")
        if not 0 < self.width <= 1:
            raise ValueError(f"width must be above 0 and at most 1, got {self.width}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be at least 0 and below 1, got {self.dropout}")

    def channels(self, published: int) -> int:
        """Return how many channels a layer of the trunk has: an even number, as some layers have two groups."""
        return max(2, 2 * round(published * self.width / 2))
