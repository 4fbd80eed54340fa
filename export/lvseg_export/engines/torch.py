"""PyTorch, the reference: what training says, for export and benchmarks to compare with."""

import numpy as np
import torch
from numpy.typing import NDArray

from lvseg.models import SegmentationModel
from lvseg_export.engines.base import Prediction, check_batch
from lvseg_export.graph import ServedModel


class TorchEngine:
    """A trained model in PyTorch on the CPU, in float32. It runs a run's model, never a bundle."""

    name = "torch-cpu"
    version: str = torch.__version__
    file = ""
    precision = "fp32"

    def __init__(self, model: SegmentationModel) -> None:
        self._model = ServedModel(model).eval()

    @property
    def threads(self) -> int:
        """CPU threads that one run may use: PyTorch has one number for the whole process."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        """Segment raw pixels (N, 1, H, W) that lie on the working grid."""
        check_batch(pixels)
        mask, probability = self._model(torch.from_numpy(pixels))
        return Prediction(mask.numpy(), probability.numpy())
