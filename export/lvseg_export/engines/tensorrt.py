"""TensorRT, by its own Python bindings: on NVIDIA GPUs, in the precision that the ONNX file has."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg_export.bundle import sha256_of
from lvseg_export.engines.base import Prediction, Split, check_batch
from lvseg_export.engines.cuda import Buffer, DeviceMemory, Event, Graph, Stream
from lvseg_export.engines.gpu import compute_capability
from lvseg_export.engines.lost import gpu_error
from lvseg_export.engines.marks import Mark, no_mark
from lvseg_export.engines.plans import PlanKey, PlanOptions, Shape, cached, default_folder
from lvseg_export.engines.tensorrt_build import Log, build_plan

_OLDEST = (10, 16)
_TENSORS = {
    "pixels": (trt.TensorIOMode.INPUT, trt.DataType.FLOAT),
    "mask": (trt.TensorIOMode.OUTPUT, trt.DataType.UINT8),
    "probability": (trt.TensorIOMode.OUTPUT, trt.DataType.FLOAT),
}
_BFLOAT16_CAPABILITY = (8, 0)
# Each holds memory, and the slices of one server have few shapes.
_SHAPES_KEPT = 8


def lacking(precision: str) -> str:
    """Return what this machine lacks to compute in a precision; empty where nothing is missing."""
    if tuple(int(number) for number in trt.__version__.split(".")[:2]) < _OLDEST:
        return (
            f"TensorRT {trt.__version__} is too old, expected {_OLDEST[0]}.{_OLDEST[1]} or later; "
            "run: pip install -U 'lvseg[tensorrt]'"
        )
    try:
        capability = compute_capability()
    except EngineError as error:
        return str(error)
    if precision == "bf16" and capability < _BFLOAT16_CAPABILITY:
        return "this GPU has no bf16"
    return ""


@dataclass
class _Prepared:
    """A shape that was run before."""

    context: trt.IExecutionContext
    graph: Graph | None = None


class TensorRtEngine:
    """A bundle's ONNX file as a TensorRT plan on the first GPU.

    The plan is built the first time, which takes its time, and kept in the user's cache. Each shape has an
    execution context of its own, since a captured graph is valid as long as its context stays as it is; the
    first run of a shape is put in call by call, the second is captured, and all later ones are one launch.

    Args:
        path: The ONNX file.
        precision: What the bundle's manifest says of the file.
        plans: What the plan is built for, and where it is kept.

    Raises:
        EngineError: If this machine lacks something, or TensorRT cannot build or load a plan of the bundle's
            contract.
    """

    name = "tensorrt-cuda"
    version: str = trt.__version__
    threads = 1
    concurrency = 1

    def __init__(self, path: Path, *, precision: str, plans: PlanOptions) -> None:
        self.file = path.name
        self.precision = precision
        lacks = lacking(precision)
        if lacks:
            raise EngineError(lacks)
        self._profile = plans.profile
        self._log = Log()
        try:
            self._runtime = trt.Runtime(self._log)
        except TypeError as error:  # what the bindings make of a null pointer
            raise EngineError(f"TensorRT {self.version} cannot start: {self._log.reason()}") from error
        self._engine = self._load_or_build(path, plans.folder or default_folder())
        self._check_contract(path)
        self._stream = Stream()
        pixels = int(np.prod(self._profile.largest))
        self._pixels, self._mask, self._probability = Buffer(4 * pixels), Buffer(pixels), Buffer(4 * pixels)
        # Shared by all contexts, of which one runs at a time. CUDA gives no memory of no size.
        self._scratch_size = max(1, self._engine.device_memory_size_v2)
        self._scratch = DeviceMemory(self._scratch_size)
        self._shapes: OrderedDict[Shape, _Prepared] = OrderedDict()

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        """Segment raw pixels (N, 1, H, W) that lie on the working grid; more than the plan takes in parts."""
        parts = [self._run_part(part) for part in self._parts(pixels)]
        return parts[0] if len(parts) == 1 else Prediction(*map(np.concatenate, zip(*parts, strict=True)))

    def split_ms(self, pixels: NDArray[np.float32]) -> Split:
        """Run once, call by call without a captured graph, and return what each part took by the GPU's own clock."""
        return Split(*map(sum, zip(*(self._split_part(part) for part in self._parts(pixels)), strict=True)))

    def _parts(self, pixels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        check_batch(pixels)
        self._profile.check(pixels.shape)
        most = self._profile.batch_max
        return [pixels[first : first + most] for first in range(0, len(pixels), most)]

    def _run_part(self, pixels: NDArray[np.float32]) -> Prediction:
        shape = self._take(pixels)
        prepared = self._shapes.pop(shape, None)
        if prepared is None:
            prepared = _Prepared(self._context(shape))
            self._enqueue(prepared.context, shape)
        else:
            if prepared.graph is None:
                context = prepared.context
                prepared.graph = self._stream.capture(lambda: self._enqueue(context, shape))
            prepared.graph.launch(self._stream)
        self._stream.synchronise()
        self._keep(shape, prepared)
        batch, _, rows, columns = shape
        answer = (batch, rows, columns)
        # Copies: the next run writes into the same memory.
        return Prediction(
            self._mask.view(answer, np.uint8).copy(), self._probability.view(answer, np.float32).copy()
        )

    def _split_part(self, pixels: NDArray[np.float32]) -> Split:
        shape = self._take(pixels)
        prepared = self._shapes.pop(shape, None) or _Prepared(self._context(shape))
        events = [Event() for _ in range(4)]  # made before: the GPU is not to wait for them between two parts
        left = iter(events)
        self._enqueue(prepared.context, shape, lambda: next(left).record(self._stream))
        self._stream.synchronise()
        self._keep(shape, prepared)
        return Split(*(later.ms_since(earlier) for earlier, later in pairwise(events)))

    def _take(self, pixels: NDArray[np.float32]) -> Shape:
        """Put pixels where a run uploads them from, and return their shape."""
        batch, _, rows, columns = pixels.shape
        shape = (batch, 1, rows, columns)
        self._pixels.view(shape, np.float32)[...] = pixels
        return shape

    def _keep(self, shape: Shape, prepared: _Prepared) -> None:
        self._shapes[shape] = prepared
        if len(self._shapes) > _SHAPES_KEPT:
            self._shapes.popitem(last=False)

    def _context(self, shape: Shape) -> trt.IExecutionContext:
        context = self._engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
        if context is None:
            raise gpu_error(f"TensorRT has no context for shape {shape}: {self._log.reason()}")
        context.set_device_memory(self._scratch.address, self._scratch_size)
        addresses = {"pixels": self._pixels, "mask": self._mask, "probability": self._probability}
        done = [context.set_input_shape("pixels", shape)]
        done += [
            context.set_tensor_address(name, buffer.device.address) for name, buffer in addresses.items()
        ]
        if not all(done):
            raise EngineError(f"TensorRT does not take shape {shape}: {self._log.reason()}")
        batch, _, rows, columns = shape
        for name in ("mask", "probability"):
            dims = context.get_tensor_shape(name)
            found = tuple(dims[axis] for axis in range(len(dims)))
            if found != (batch, rows, columns):
                raise EngineError(
                    f"the {name} of {shape} has shape {found}, expected {(batch, rows, columns)}"
                )
        return context

    def _enqueue(self, context: trt.IExecutionContext, shape: Shape, mark: Mark = no_mark) -> None:
        """Put one run into the stream: pixels to the GPU, the network, both answers back."""
        size = int(np.prod(shape))
        mark()
        self._pixels.upload(4 * size, self._stream)
        mark()
        if not context.execute_async_v3(int(self._stream.handle)):
            raise gpu_error(f"TensorRT failed on a batch of shape {shape}: {self._log.reason()}")
        mark()
        self._mask.download(size, self._stream)
        self._probability.download(4 * size, self._stream)
        mark()

    def _load_or_build(self, path: Path, folder: Path) -> trt.ICudaEngine:
        key = PlanKey(
            onnx_sha256=sha256_of(path),
            tensorrt=self.version,
            capability=compute_capability(),
            profile=self._profile,
            tf32=False,  # held to float32 results, which ten bits are not
        )
        timings = folder / f"{key.platform}.timings"

        def build() -> bytes:
            return build_plan(path, self._profile, tf32=key.tf32, timings=timings, log=self._log)

        return cached(folder, key, load=self._deserialise, build=build)

    def _deserialise(self, plan: bytes) -> trt.ICudaEngine | None:
        engine: trt.ICudaEngine | None = self._runtime.deserialize_cuda_engine(plan)
        self._log.reason()  # why not is no error yet
        return engine

    def _check_contract(self, path: Path) -> None:
        engine = self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        found: dict[str, Any] = {
            name: (engine.get_tensor_mode(name), engine.get_tensor_dtype(name)) for name in names
        }
        if found != _TENSORS:
            raise EngineError(f"{path}: inputs and outputs are {found}, expected {_TENSORS}")
