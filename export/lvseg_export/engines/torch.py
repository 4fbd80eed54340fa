"""PyTorch, the reference: what training says, for export and benchmarks to compare with."""

from typing import ClassVar, Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg.models import SegmentationModel
from lvseg_export.engines.base import Prediction, Split, check_batch
from lvseg_export.engines.marks import Mark, no_mark, split_by_clock
from lvseg_export.graph import ServedModel

Device: TypeAlias = Literal["cpu", "cuda"]


class TorchEngine:
    """A trained model in PyTorch on the CPU, in float32. It runs a run's model, never a bundle.

    Args:
        model: The trained model.
        compiled: Whether ``torch.compile`` shall make code of it, in the first run of each kind of shape.
    """

    version: str = torch.__version__
    file = ""
    precision = "fp32"
    concurrency = 1
    device: ClassVar[Device] = "cpu"

    def __init__(self, model: SegmentationModel, *, compiled: bool = False) -> None:
        served = ServedModel(model).eval().to(self.device)
        self.name = f"torch-compile-{self.device}" if compiled else f"torch-{self.device}"
        self._model = torch.compile(served) if compiled else served

    @property
    def threads(self) -> int:
        """CPU threads that one run may use: PyTorch has one number for the whole process."""
        return torch.get_num_threads()

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        """Segment raw pixels (N, 1, H, W) that lie on the working grid."""
        return self._run(pixels, no_mark)

    @torch.inference_mode()
    def _run(self, pixels: NDArray[np.float32], mark: Mark) -> Prediction:
        check_batch(pixels)
        try:
            mark()
            uploaded = torch.from_numpy(pixels).to(self.device)
            mark()
            mask, probability = self._model(uploaded)
            mark()
        except RuntimeError as error:  # also the base of what compiling raises
            said = str(error).strip().splitlines() or [type(error).__name__]
            raise EngineError(f"PyTorch failed on a batch of shape {pixels.shape}: {said[0]}") from error
        prediction = Prediction(mask.cpu().numpy(), probability.cpu().numpy())
        mark()
        return prediction


class TorchCudaEngine(TorchEngine):
    """A trained model in PyTorch on its first GPU, to which the model is moved.

    Args:
        model: As of :class:`TorchEngine`.
        compiled: Likewise.

    Raises:
        EngineError: If PyTorch finds no GPU.
    """

    device: ClassVar[Device] = "cuda"

    def __init__(self, model: SegmentationModel, *, compiled: bool = False) -> None:
        if not torch.cuda.is_available():
            raise EngineError(f"PyTorch {self.version} finds no GPU; take the CPU")
        torch.backends.cudnn.allow_tf32 = False  # of the whole process; else float32 would not be
        super().__init__(model, compiled=compiled)

    def split_ms(self, pixels: NDArray[np.float32]) -> Split:
        """Run once, waiting for the GPU after each part, and return what each took by the clock."""
        return split_by_clock(lambda mark: self._run(pixels, mark), wait=torch.cuda.synchronize)
