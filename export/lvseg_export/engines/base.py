"""What every engine does: a batch of slices in, masks out."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from lvseg.errors import EngineError

SMALLEST_SIDE = 32
LARGEST_SIDE = 4096
"""Rows or columns of a slice, as the graphs of a bundle take them."""


class Prediction(NamedTuple):
    """What a model says of a batch of slices on its working grid."""

    mask: NDArray[np.uint8]
    """Shape (N, H, W); 1 = left-ventricle blood pool."""
    probability: NDArray[np.float32]
    """Shape (N, H, W); of being left-ventricle blood pool."""


class Engine(Protocol):
    """One runtime with one model of a bundle loaded, ready to run."""

    @property
    def name(self) -> str:
        """Runtime and device, such as ``"onnxruntime-cpu"``."""
        ...

    @property
    def version(self) -> str:
        """The runtime's own version."""
        ...

    @property
    def file(self) -> str:
        """Name of the bundle's file that it runs; empty for a model that never was in a bundle."""
        ...

    @property
    def precision(self) -> str:
        """Arithmetic of the network's layers, such as ``"fp32"``."""
        ...

    @property
    def threads(self) -> int:
        """CPU threads that one run may use."""
        ...

    @property
    def concurrency(self) -> int:
        """How many threads may call :meth:`run` at a time; more is not safe."""
        ...

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        """Segment raw pixels (N, 1, H, W) that lie on the working grid.

        Raises:
            EngineError: If the shape or type is another one, or the runtime fails.
            EngineLostError: If it fails in a way after which it will never answer again.
        """
        ...


class Split(NamedTuple):
    """Where the time of one run on a GPU goes, in milliseconds."""

    upload_ms: float
    """The pixels to the GPU."""
    compute_ms: float
    """The network."""
    download_ms: float
    """Masks and probabilities back."""


@runtime_checkable
class SplitsTime(Protocol):
    """An engine that can tell a run's transfers from its arithmetic: one on a GPU."""

    def split_ms(self, pixels: NDArray[np.float32]) -> Split:
        """Run raw pixels (N, 1, H, W) once, part by part, and return what each part took.

        That is for measurements: the parts together may take longer than a :meth:`Engine.run`.

        Raises:
            EngineError: As :meth:`Engine.run`.
        """
        ...


def check_batch(pixels: NDArray[np.float32]) -> None:
    """Check that an array is a batch that an engine takes."""
    if pixels.ndim != 4 or pixels.shape[1] != 1 or 0 in pixels.shape or pixels.dtype != np.float32:
        raise EngineError(
            f"expected float32 pixels of shape (N, 1, H, W), got {pixels.dtype} of shape {pixels.shape}"
        )
