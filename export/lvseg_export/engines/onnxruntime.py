"""ONNX Runtime on the CPU."""

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from lvseg.errors import EngineError
from lvseg_export.engines.base import Prediction, check_batch

_INPUT = ("pixels", "tensor(float)")
_OUTPUTS = (("mask", "tensor(uint8)"), ("probability", "tensor(float)"))
# pybind11 gives each ONNX Runtime status its own class, with Exception as their only common base.
_ORT_ERRORS = tuple(
    error for error in vars(ort_errors).values() if isinstance(error, type) and issubclass(error, Exception)
)


class OnnxRuntimeEngine:
    """A bundle's ONNX file on ONNX Runtime's CPU provider.

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
        self.threads = threads or len(os.sched_getaffinity(0))
        options = ort.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        # Spinning threads win microseconds for one caller and take the CPU from everybody else.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except _ORT_ERRORS as error:
            raise EngineError(f"{path}: ONNX Runtime {self.version} cannot load it: {error}") from error
        found = tuple(
            (node.name, node.type) for node in (*self._session.get_inputs(), *self._session.get_outputs())
        )
        if found != (_INPUT, *_OUTPUTS):
            raise EngineError(f"{path}: inputs and outputs are {found}, expected {(_INPUT, *_OUTPUTS)}")

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        """Segment raw pixels (N, 1, H, W) that lie on the working grid."""
        check_batch(pixels)
        try:
            mask, probability = self._session.run(None, {_INPUT[0]: pixels})
        except _ORT_ERRORS as error:
            raise EngineError(f"ONNX Runtime failed on a batch of shape {pixels.shape}: {error}") from error
        return Prediction(mask, probability)
