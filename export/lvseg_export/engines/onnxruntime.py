"""ONNX Runtime on the CPU, and what its engines share."""

import sys
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from lvseg.errors import EngineError
from lvseg_export import cpu
from lvseg_export.engines.base import Prediction, check_batch

PIXELS, MASK, PROBABILITY = _TENSORS = (
    ("pixels", "tensor(float)"),
    ("mask", "tensor(uint8)"),
    ("probability", "tensor(float)"),
)
# pybind11 gives each ONNX Runtime status its own class, with Exception as their only common base.
ORT_ERRORS = tuple(
    error for error in vars(ort_errors).values() if isinstance(error, type) and issubclass(error, Exception)
)
_DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")


def check_distributions(path: Sequence[str] | None = None) -> None:
    """Check that one distribution of ONNX Runtime is installed: two write into one folder, and neither is whole.

    Args:
        path: Folders to look in instead of those that Python imports from.

    Raises:
        EngineError: If both are.
    """
    folders = list(sys.path if path is None else path)
    if all(any(distributions(name=name, path=folders)) for name in _DISTRIBUTIONS):
        raise EngineError(
            f"{' and '.join(_DISTRIBUTIONS)} are both installed, over each other's files; run: pip uninstall -y "
            f"{' '.join(_DISTRIBUTIONS)}, then for a GPU: pip install 'lvseg[gpu]', without: pip install 'lvseg[serve]'"
        )


def open_session(path: Path, options: ort.SessionOptions, providers: Sequence[Any]) -> ort.InferenceSession:
    """Load a file.

    Raises:
        EngineError: If it is not a graph of the bundle's contract, or two distributions are installed.
    """
    check_distributions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(path, options, providers=providers)
    except ORT_ERRORS as error:
        raise EngineError(f"{path}: ONNX Runtime {ort.__version__} cannot load it: {error}") from error
    found = tuple((node.name, node.type) for node in (*session.get_inputs(), *session.get_outputs()))
    if found != _TENSORS:
        raise EngineError(f"{path}: inputs and outputs are {found}, expected {_TENSORS}")
    return session


def lacking(_precision: str) -> str:
    """Return that this machine lacks nothing: every processor will do.

    Raises:
        EngineError: If two distributions are installed.
    """
    check_distributions()
    return ""


class OnnxRuntimeEngine:
    """A bundle's ONNX file on ONNX Runtime's CPU provider.

    Runs go on beside each other as long as there is a processor for each thread: one thread a run gives more slices
    a second than all threads on one slice, which in turn has its answer earlier.

    Args:
        path: The ONNX file.
        precision: What the bundle's manifest says of the file.
        threads: Threads for one run; by default the CPUs that this process may use.

    Raises:
        EngineError: If the file is not a graph of the bundle's contract.
    """

    name = "onnxruntime-cpu"
    version: str = ort.__version__

    def __init__(self, path: Path, *, precision: str, threads: int | None = None) -> None:
        self.file = path.name
        self.precision = precision
        self.threads = threads or cpu.usable()
        self.concurrency = cpu.runs_at_once(self.threads)
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        # Spinning threads win microseconds for one caller and take the CPU from everybody else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = open_session(path, options, ["CPUExecutionProvider"])

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        """Segment raw pixels (N, 1, H, W) that lie on the working grid."""
        check_batch(pixels)
        try:
            mask, probability = self._session.run(None, {PIXELS[0]: pixels})
        except ORT_ERRORS as error:
            raise EngineError(f"ONNX Runtime failed on a batch of shape {pixels.shape}: {error}") from error
        return Prediction(mask, probability)
