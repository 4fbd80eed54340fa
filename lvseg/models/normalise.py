"""Intensity normalisation, the same tensor operations in training and inside the exported graph."""

import torch
from torch import Tensor, nn


def _standardise(image: Tensor) -> Tensor:  # (N, C, H, W)
    centred = image - image.mean(dim=(1, 2, 3), keepdim=True)
    deviation = (centred * centred).mean(dim=(1, 2, 3), keepdim=True).sqrt()
    return centred / deviation.clamp(min=1e-6)  # a constant slice becomes zeros, not NaN


class Normalise(nn.Module):
    """Bring each slice to zero mean and unit variance, whatever the scanner's grey scale.

    Z-score, clamp, z-score: the clamp takes the brightest fat and the rare spike out of the second
    mean and deviation, as percentiles would, but with reductions and element-wise operations alone,
    which every inference runtime has. Computed in float32: the squares of raw pixels overflow float16.

    Args:
        low: Lower limit of the clamp, in standard deviations.
        high: Upper limit of the clamp, in standard deviations.
    """

    def __init__(self, low: float = -2.0, high: float = 3.0) -> None:
        super().__init__()
        self.low = low
        self.high = high

    def forward(self, pixels: Tensor) -> Tensor:
        """Normalise pixels (N, 1, H, W) of any float type to float32 (N, 1, H, W)."""
        return _standardise(_standardise(pixels.to(torch.float32)).clamp(self.low, self.high))
