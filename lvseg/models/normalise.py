"""Intensity normalisation, the same tensor operations in training and inside the exported graph."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from lvseg.models.options import NetworkOptions, Normalisation

LOW, HIGH = -2.0, 3.0
"""Limits of the clamp, in standard deviations of the slice."""

EQUAL_PLANES: frozenset[Normalisation] = frozenset({"z-score", "raw-116", "grey-116"})
"""The normalisations whose planes all hold the same values."""

_GREY_MEAN = 116.0
_PLANES: Mapping[Normalisation, tuple[float, tuple[float, ...], tuple[float, ...]]] = {
    # The white of the grey scale, then each plane's mean and divisor on it.
    "grey-116": (255.0, (_GREY_MEAN,), (1.0,)),
    "bgr-means": (255.0, (104.007, 116.669, 122.679), (1.0, 1.0, 1.0)),
    "imagenet": (1.0, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def _standardise(image: Tensor) -> Tensor:  # (N, C, H, W)
    centred = image - image.mean(dim=(1, 2, 3), keepdim=True)
    deviation = (centred * centred).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return centred / deviation.clamp(min=1e-6)  # a constant slice becomes zeros, not NaN


class Normalise(nn.Module):
    """Bring each slice to the range that a network's weights expect: the planes of ``options.normalisation``.

    All but ``"raw-116"`` begin with z-score and clamp, so that a scanner's grey scale does not matter: the
    clamp takes the brightest fat and the rare spike out of what follows, as percentiles would, but with
    reductions and element-wise operations alone, which every inference runtime has. Computed in float32:
    the squares of raw pixels overflow float16.

    References:
        Means: Jia et al., "Caffe", 2014, and the published prototxts (BGR), torchvision's weights (RGB).
    """

    def __init__(self, options: NetworkOptions) -> None:
        super().__init__()
        self.kind = options.normalisation
        self.channels = options.input_channels
        self.white, means, deviations = _PLANES.get(self.kind, (1.0, (0.0,), (1.0,)))
        # Not weights: a checkpoint holds none of them, the options say it all.
        self.register_buffer("means", torch.tensor(means).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("deviations", torch.tensor(deviations).view(1, -1, 1, 1), persistent=False)
        self.means: Tensor
        self.deviations: Tensor

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (N, 1, H, W) of any float type to float32 (N, C, H, W), C the network's channels."""
        pixels = pixels.to(torch.float32)
        if self.kind == "raw-116":
            return (pixels - _GREY_MEAN).expand(-1, self.channels, -1, -1)
        clamped = _standardise(pixels).clamp(LOW, HIGH)
        if self.kind == "z-score":
            return _standardise(clamped).expand(-1, self.channels, -1, -1)
        grey = (clamped - LOW) * (self.white / (HIGH - LOW))  # 0 to white
        return ((grey - self.means) / self.deviations).expand(-1, self.channels, -1, -1)
