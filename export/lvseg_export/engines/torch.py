"""PyTorch, the reference: what training says, for export and benchmarks to compare with."""

from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg.models import SegmentationModel
from lvseg_export.engines.base import Prediction, check_batch
from lvseg_export.graph import ServedModel

Device: TypeAlias = Literal["cpu", "cuda"]


class TorchEngine:
    """A trained model in PyTorch, in float32. It runs a run's model, never a bundle.

    Args:
        model: The trained model; for a GPU it is moved there.
        compiled: Whether ``torch.compile`` shall make code of it, in the first run of each kind of shape.
        device: ``"cpu"``, or ``"cuda"`` for PyTorch's first GPU.

    Raises:
        EngineError: If PyTorch finds no GPU and is asked for one.
    """

    version: str = torch.__version__
    file = ""
    precision = "fp32"
    concurrency = 1

    def __init__(self, model: SegmentationModel, *, compiled: bool = False, device: Device = "cpu") -> None:
        if device == "cuda":
            if not torch.cuda.is_available():
                raise EngineError(f"PyTorch {self.version} finds no GPU; take the CPU")
            torch.backends.cudnn.allow_tf32 = False  # of the whole process; else float32 would not be
        served = ServedModel(model).eval().to(device)
        self.name = f"torch-compile-{device}" if compiled else f"torch-{device}"
        self._device = device
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
            mask, probability = self._model(torch.from_numpy(pixels).to(self._device))
        except RuntimeError as error:  # also the base of what compiling raises
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise EngineError(f"PyTorch failed on a batch of shape {pixels.shape}: {said[0]}") from error
        return Prediction(mask.cpu().numpy(), probability.cpu().numpy())
