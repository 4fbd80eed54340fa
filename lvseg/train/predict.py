"""A model's mask of a slice, by the same steps as a server's."""

import numpy as np
import torch
from numpy.typing import NDArray

from lvseg.dicom import Slice
from lvseg.models import SegmentationModel
from lvseg.resample import mask_from_working, to_working


def predict_mask(model: SegmentationModel, slice_: Slice, working_spacing_mm: float) -> NDArray[np.bool_]:
    """Return the mask of a slice, of its own shape (rows, columns); the model is in evaluation mode."""
    pixels = to_working(slice_.pixels, slice_.pixel_spacing, working_spacing_mm)
    device = next(model.parameters()).device
    with torch.inference_mode():
        logits = model(torch.from_numpy(pixels)[None, None].to(device))
        probability = torch.softmax(logits.float(), dim=1)[0, 1].cpu().numpy()
    return mask_from_working(probability, slice_.pixels.shape)
