"""What the exported graph computes: a trained model and the decision behind it."""

import torch
from torch import Tensor, nn

from lvseg.models import SegmentationModel


class ServedModel(nn.Module):
    """From a slice's raw pixels to its mask and probability: all that a runtime has to do."""

    def __init__(self, model: SegmentationModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mask uint8 (N, H, W) and foreground probability float32 (N, H, W) of pixels (N, 1, H, W)."""
        background, foreground = self.model(pixels).unbind(dim=1)
        # Two classes need no arg-max, whose int64 result some runtimes refuse to cast to uint8.
        mask = (foreground > background).to(torch.float32).to(torch.uint8)
        return mask, torch.sigmoid(foreground - background)
