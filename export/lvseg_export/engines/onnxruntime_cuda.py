"""ONNX Runtime on an NVIDIA GPU."""

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg_export.engines.base import Prediction, Split, check_batch
from lvseg_export.engines.gpu import compute_capability
from lvseg_export.engines.lost import gpu_error
from lvseg_export.engines.marks import Mark, no_mark, split_by_clock
from lvseg_export.engines.onnxruntime import (
    MASK,
    ORT_ERRORS,
    PIXELS,
    PROBABILITY,
    check_distributions,
    open_session,
)
from lvseg_export.quiet import quiet

_PROVIDER = "CUDAExecutionProvider"
_SHAPES_KEPT = 8
# The last is of memory on the device.
_ERRORS: tuple[type[Exception], ...] = (*ORT_ERRORS, RuntimeError)


def lacking(_precision: str) -> str:
    """Return what this machine lacks; empty where nothing is missing.

    Raises:
        EngineError: If two distributions of ONNX Runtime are installed.
    """
    check_distributions()
    try:
        compute_capability()
    except EngineError as error:
        return str(error)
    if _PROVIDER not in ort.get_available_providers():
        return (
            "the onnxruntime that is installed knows no CUDA; run: pip uninstall -y onnxruntime && "
            "pip install 'lvseg[gpu]'"
        )
    return ""


class _Bound(NamedTuple):
    """The tensors of one shape, on the device, and their places in the graph."""

    pixels: ort.OrtValue
    mask: ort.OrtValue
    probability: ort.OrtValue
    binding: ort.IOBinding


class OnnxRuntimeCudaEngine:
    """A bundle's ONNX file on ONNX Runtime's CUDA provider, on the first GPU.

    The tensors of each shape are made once, on the GPU, and used again for every batch of that shape.

    Args:
        path: The ONNX file.
        precision: What the bundle's manifest says of the file.

    Raises:
        EngineError: If this machine lacks something, or the file is not a graph of the bundle's contract.
    """

    name = "onnxruntime-cuda"
    version: str = ort.__version__
    threads = 1
    concurrency = 1
    provider: ClassVar[str] = _PROVIDER
    settings: ClassVar[Mapping[str, str]] = {
        # Held to float32 results, which TF32's ten bits are not.
        "use_tf32": "0",
        # An exhaustive search, the default, would time every kernel again for each shape of slice.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    device: ClassVar[str] = "cuda"

    def __init__(self, path: Path, *, precision: str) -> None:
        self.file = path.name
        self.precision = precision
        lacks = lacking(precision)
        if lacks:
            raise EngineError(lacks)
        with quiet("onnxruntime"):  # it prints what it does not find; whether that matters is seen below
            ort.preload_dlls()
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = self.threads
        self._session = open_session(path, options, [(self.provider, dict(self.settings))])
        self._session.disable_fallback()
        # A provider whose libraries are missing makes room for the CPU's without an error.
        if self.provider not in self._session.get_providers():
            raise EngineError(
                f"ONNX Runtime {self.version} cannot load the libraries of CUDA and cuDNN that it wants; "
                "run: pip install 'lvseg[gpu]'"
            )
        self._bound: OrderedDict[tuple[int, ...], _Bound] = OrderedDict()

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        """Segment raw pixels (N, 1, H, W) that lie on the working grid."""
        return self._run(pixels, no_mark)

    def split_ms(self, pixels: NDArray[np.float32]) -> Split:
        """Run once and return what each part took, by the clock: each of the three calls waits until it is done."""
        return split_by_clock(lambda mark: self._run(pixels, mark))

    def _run(self, pixels: NDArray[np.float32], mark: Mark) -> Prediction:
        check_batch(pixels)
        try:
            bound = self._bound.pop(pixels.shape, None) or self._bind(pixels.shape)
            block = np.ascontiguousarray(pixels)
            mark()
            bound.pixels.update_inplace(block)
            mark()
            self._session.run_with_iobinding(bound.binding)
            mark()
            mask, probability = bound.mask.numpy(), bound.probability.numpy()
            mark()
        except _ERRORS as error:
            raise gpu_error(f"ONNX Runtime failed on a batch of shape {pixels.shape}: {error}") from error
        self._bound[pixels.shape] = bound
        if len(self._bound) > _SHAPES_KEPT:
            self._bound.popitem(last=False)
        # Copies: the next run writes into the same tensors.
        return Prediction(mask.copy(), probability.copy())

    def _bind(self, shape: tuple[int, ...]) -> _Bound:
        batch, _, rows, columns = shape
        pixels = self._tensor(shape, np.float32)
        mask = self._tensor((batch, rows, columns), np.uint8)
        probability = self._tensor((batch, rows, columns), np.float32)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(PIXELS[0], pixels)
        binding.bind_ortvalue_output(MASK[0], mask)
        binding.bind_ortvalue_output(PROBABILITY[0], probability)
        return _Bound(pixels, mask, probability, binding)

    def _tensor(self, shape: tuple[int, ...], dtype: type[np.generic]) -> ort.OrtValue:
        return ort.OrtValue.ortvalue_from_shape_and_type(shape, dtype, self.device, 0)
