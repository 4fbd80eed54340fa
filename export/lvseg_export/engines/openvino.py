"""OpenVINO on the CPU: the fastest on x86, which runs int8 graphs as int8 and float32 graphs in bf16 where it can."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import openvino as ov
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg_export import cpu
from lvseg_export.engines.base import Prediction, check_batch

_PORTS = ("pixels", "mask", "probability")
# Always told: OpenVINO's own choice is bf16 where the processor has it, whatever the graph says.
_ARITHMETIC: Mapping[str, str] = {"fp32": "f32", "fp16": "f32", "int8": "f32", "bf16": "bf16"}


@cache
def _core() -> ov.Core:
    """Return the one core of this process, which is never closed.

    Its CPU plug-in gives the thread that opens it a stack for signals, and takes it away at its end. Two that are not
    closed in the reverse order leave the thread a stack that is gone, and its next signal kills the process.
    """
    return ov.Core()


def lacking(precision: str) -> str:
    """Return what this machine lacks to compute in a precision; empty where nothing is missing."""
    if precision == "bf16" and "BF16" not in _core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        return "this processor has no bf16 instructions"
    return ""


class OpenVinoEngine:
    """A bundle's ONNX file on OpenVINO's CPU plug-in.

    Runs go on beside each other as long as there is a processor for each thread.

    Args:
        path: The ONNX file.
        precision: What the bundle's manifest says of the file, or ``"bf16"``, which a float32 file is run in.
        threads: Threads for one run; by default the CPUs that this process may use.

    Raises:
        EngineError: If the file is not a graph of the bundle's contract, or the processor has no bf16.
    """

    name = "openvino-cpu"
    version: str = ov.__version__.split("-")[0]

    def __init__(self, path: Path, *, precision: str, threads: int | None = None) -> None:
        self.file = path.name
        self.precision = precision
        self.threads = threads or cpu.usable()
        self.concurrency = cpu.runs_at_once(self.threads)
        lacks = lacking(precision)
        if lacks:
            raise EngineError(f"{lacks}; take another precision")
        settings = {
            "INFERENCE_PRECISION_HINT": _ARITHMETIC[precision],
            "INFERENCE_NUM_THREADS": self.threads * self.concurrency,
            "NUM_STREAMS": self.concurrency,
            "ENABLE_CPU_PINNING": False,
        }
        try:
            compiled = _core().compile_model(path, "CPU", settings)
        except RuntimeError as error:  # the only class that OpenVINO raises
            raise EngineError(f"{path}: OpenVINO {self.version} cannot load it: {_said(error)}") from error
        found = [sorted(port.get_names()) for port in (*compiled.inputs, *compiled.outputs)]
        # A port has several names where the compiler found two values to be one.
        if len(found) != len(_PORTS) or any(
            name not in names for name, names in zip(_PORTS, found, strict=True)
        ):
            raise EngineError(f"{path}: inputs and outputs are {found}, expected {_PORTS}")
        self._requests: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(self.concurrency):
            self._requests.put(compiled.create_infer_request())

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        """Segment raw pixels (N, 1, H, W) that lie on the working grid."""
        check_batch(pixels)
        request = self._requests.get()
        try:
            request.infer([np.ascontiguousarray(pixels)], share_inputs=True)
            # Copies: the next run writes into the request's own tensors.
            mask, probability = (request.get_output_tensor(index).data.copy() for index in range(2))
        except RuntimeError as error:
            raise EngineError(
                f"OpenVINO failed on a batch of shape {pixels.shape}: {_said(error)}"
            ) from error
        finally:
            self._requests.put(request)
        return Prediction(mask, probability)


def _said(error: RuntimeError) -> str:
    """Return what an error says below its trace through OpenVINO's own sources."""
    return str(error).strip().splitlines()[-1]
