"""PyTorch, the reference: what training says, for export and benchmarks to compare with."""

import numpy as np
import torch
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg.models import SegmentationModel
from lvseg_export.engines.base import Prediction, check_batch
from lvseg_export.graph import ServedModel


class TorchEngine:
    """A trained model in PyTorch on the CPU, in float32. It runs a run's model, never a bundle.

    Args:
        model: The trained model.
        compiled: Whether ``torch.compile`` shall make code of it, in the first run of each kind of shape.
    """

    version: str = torch.__version__
    file = ""
    precision = "fp32"

    def __init__(self, model: SegmentationModel, *, compiled: bool = False) -> None:
        served = ServedModel(model).eval()
        self.name = "torch-compile-cpu" if compiled else "torch-cpu"
        self._model = torch.compile(served) if compiled else served

    @property
    def threads(self) -> int:
        """CPU threads that one run may use: PyTorch has one number for the whole process."""
        return torch.get_num_threads()

    @torch.inference_mode()
    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        """Segment raw pixels (N, 1, H, W) that lie on the working grid."""
        check_batch(pixels)
        try:
            mask, probability = self._model(torch.from_numpy(pixels))
        except RuntimeError as error:  # also the base of what compiling raises
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise EngineError(f"PyTorch failed on a batch of shape {pixels.shape}: {said[0]}") from error
        return Prediction(mask.numpy(), probability.numpy())
