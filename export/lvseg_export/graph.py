"""What the exported graph computes: a trained model and the decision behind it."""

import copy

import torch
from torch import Tensor, nn

from lvseg.models import SegmentationModel


class ServedModel(nn.Module):
    """From a slice's raw pixels to its mask and probability: all that a runtime has to do.

    Args:
        model: The trained model, whose weights are left as they are.
        layers: Arithmetic of the network's layers. Normalisation and decision are float32 in any case: the
            squares of raw pixels overflow float16, and close scores would fall together.
    """

    def __init__(self, model: SegmentationModel, layers: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.normalise = model.normalise
        self.network = model.network if layers == torch.float32 else copy.deepcopy(model.network).to(layers)
        self.layers = layers

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return mask uint8 (N, H, W) and foreground probability float32 (N, H, W) of pixels (N, 1, H, W)."""
        scores = self.network(self.normalise(pixels).to(self.layers)).to(torch.float32)
        background, foreground = scores.unbind(dim=1)
        # Two classes need no arg-max, whose int64 result some runtimes refuse to cast to uint8.
        mask = (foreground > background).to(torch.float32).to(torch.uint8)
        return mask, torch.sigmoid(foreground - background)
