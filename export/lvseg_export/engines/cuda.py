"""What the TensorRT engine needs of the CUDA runtime: stream, events, buffers, captured graphs, each call checked."""

import ctypes
import weakref
from collections.abc import Callable
from typing import Any, ParamSpec

import numpy as np
from cuda.bindings import runtime as cudart
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg_export.engines.lost import gpu_error

_Arguments = ParamSpec("_Arguments")


def checked(
    function: Callable[_Arguments, Any], *arguments: _Arguments.args, **named: _Arguments.kwargs
) -> Any:
    """Call a function of the CUDA runtime, and return what it gives beside its status.

    Raises:
        EngineError: If the status is another than success; the message names both.
        EngineLostError: If it is one after which no call succeeds.
    """
    status, *values = function(*arguments, **named)
    if status != cudart.cudaError_t.cudaSuccess:
        raise gpu_error(f"{getattr(function, '__name__', function)} gives {status.name}")
    return values[0] if values else None


class Stream:
    """A queue of work for the GPU, of our own: TensorRT synchronises more on the default one."""

    def __init__(self) -> None:
        self.handle = checked(cudart.cudaStreamCreateWithFlags, cudart.cudaStreamNonBlocking)
        weakref.finalize(self, cudart.cudaStreamDestroy, self.handle)

    def synchronise(self) -> None:
        """Wait until all work that was put in is done."""
        checked(cudart.cudaStreamSynchronize, self.handle)

    def capture(self, work: Callable[[], None]) -> "Graph":
        """Return as one piece the work that a function puts in, none of which is done yet.

        Raises:
            EngineError: If some of the work cannot be captured.
        """
        # Other threads of the process may use CUDA meanwhile.
        checked(
            cudart.cudaStreamBeginCapture,
            self.handle,
            cudart.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal,
        )
        try:
            work()
        except EngineError:
            cudart.cudaStreamEndCapture(self.handle)  # fails as the work did, and says less of it
            raise
        captured = checked(cudart.cudaStreamEndCapture, self.handle)
        try:
            return Graph(checked(cudart.cudaGraphInstantiate, captured, 0))
        finally:
            checked(cudart.cudaGraphDestroy, captured)


class Graph:
    """Captured work, ready to be done again and again."""

    def __init__(self, executable: Any) -> None:
        self._executable = executable
        weakref.finalize(self, cudart.cudaGraphExecDestroy, executable)

    def launch(self, stream: Stream) -> None:
        """Put the work into a stream."""
        checked(cudart.cudaGraphLaunch, self._executable, stream.handle)


class Event:
    """A place in a stream's work, at which the GPU takes the time."""

    def __init__(self) -> None:
        self._handle = checked(cudart.cudaEventCreate)
        weakref.finalize(self, cudart.cudaEventDestroy, self._handle)

    def record(self, stream: Stream) -> None:
        """Put the event into a stream."""
        checked(cudart.cudaEventRecord, self._handle, stream.handle)

    def ms_since(self, earlier: "Event") -> float:
        """Return the milliseconds since another event; both have to be over, as after :meth:`Stream.synchronise`."""
        return float(checked(cudart.cudaEventElapsedTime, earlier._handle, self._handle))


class DeviceMemory:
    """Memory of the GPU."""

    def __init__(self, size: int) -> None:
        self.address = int(checked(cudart.cudaMalloc, size))
        weakref.finalize(self, cudart.cudaFree, self.address)


class Buffer:
    """Memory of the GPU, and page-locked memory of the host to copy from and to without a stop between."""

    def __init__(self, size: int) -> None:
        self.device = DeviceMemory(size)
        self._address = int(checked(cudart.cudaMallocHost, size))
        weakref.finalize(self, cudart.cudaFreeHost, self._address)
        self._host = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._address))

    def view(self, shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
        """Return the beginning of the host's memory as an array; its content lasts until the next copy."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._host[:size].view(dtype).reshape(shape)

    def upload(self, size: int, stream: Stream) -> None:
        """Put a copy to the GPU into a stream."""
        self._copy(self.device.address, self._address, size, stream, upload=True)

    def download(self, size: int, stream: Stream) -> None:
        """Put a copy from the GPU into a stream."""
        self._copy(self._address, self.device.address, size, stream, upload=False)

    @staticmethod
    def _copy(target: int, source: int, size: int, stream: Stream, *, upload: bool) -> None:
        kinds = cudart.cudaMemcpyKind
        kind = kinds.cudaMemcpyHostToDevice if upload else kinds.cudaMemcpyDeviceToHost
        checked(cudart.cudaMemcpyAsync, target, source, size, kind, stream.handle)
