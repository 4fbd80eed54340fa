"""The use case: a DICOM file's bytes in, a segmentation out. Knows neither gRPC nor protobuf."""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lvseg.errors import EngineError, OverloadError
from lvseg_export.engines.base import Engine
from lvseg_serve import defaults
from lvseg_serve.answers import ModelIdentity, Segmentation, StageTimings
from lvseg_serve.stages import SliceRequest, finish, prepare

_SHORTEST_RETRY_S = 0.1

_Result = TypeVar("_Result")


class _Inferred(NamedTuple):
    probability: NDArray[np.float32]  # (H, W), on the working grid
    inference_ms: float


class Segmenter:
    """Segments slices with one engine, without holding up the event loop.

    Reading and the work after the engine run in a few threads; the engine has a thread of its own, so that
    it is called from one thread at a time and in the order in which slices became ready.

    Args:
        engine: Runs the model.
        model: What the engine runs, for the answers.
        working_spacing_mm: Pixel spacing that the model was trained at.
        max_pending: Slices that may be under way; a further one is refused at once.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        model: ModelIdentity,
        working_spacing_mm: float,
        max_pending: int = defaults.MAX_PENDING,
    ) -> None:
        self._engine = engine
        self._max_pending = max_pending
        self._pending = 0
        self._engine_s = 0.0
        self._model = model
        self._working_spacing_mm = working_spacing_mm
        self._workers = ThreadPoolExecutor(len(os.sched_getaffinity(0)), thread_name_prefix="lvseg-worker")
        self._engine_thread = ThreadPoolExecutor(1, thread_name_prefix="lvseg-engine")

    async def segment(self, request: SliceRequest) -> Segmentation:
        """Segment one slice.

        A caller that gives up takes its slice out of the queue; one already in the engine is finished.

        Raises:
            OverloadError: If too many slices are under way.
            DicomError: If the object cannot be read as a slice, or its working grid would be too large.
            ContourError: If the contour is malformed or does not fit the slice.
            EngineError: If the engine fails.
        """
        started = perf_counter()
        with self._place():
            prepared = await _run(self._workers, partial(prepare, request, self._working_spacing_mm))
            inferred = await _run(self._engine_thread, partial(self._infer, prepared.pixels))
            work = partial(
                finish,
                inferred.probability,
                prepared.grid,
                contour=prepared.contour,
                outputs=request.outputs,
            )
            finished = await _run(self._workers, work)
        rows, columns = prepared.grid.shape
        return Segmentation(
            rows=rows,
            columns=columns,
            frame=prepared.grid.frame,
            pixel_spacing=prepared.grid.pixel_spacing,
            mask=finished.mask,
            contour=finished.contour,
            area_mm2=finished.area_mm2,
            agreement=finished.agreement,
            model=self._model,
            timings=StageTimings(
                decode_ms=prepared.decode_ms,
                resample_ms=prepared.resample_ms,
                inference_ms=inferred.inference_ms,
                postprocess_ms=finished.postprocess_ms,
                compare_ms=finished.compare_ms,
                total_ms=(perf_counter() - started) * 1e3,
            ),
        )

    def close(self) -> None:
        """Finish the work that has begun, drop the rest and end the threads."""
        self._workers.shutdown(cancel_futures=True)
        self._engine_thread.shutdown(cancel_futures=True)

    @contextmanager
    def _place(self) -> Iterator[None]:
        """Take one of the places, in the event loop's thread."""
        if self._pending >= self._max_pending:
            retry_after_s = max(
                _SHORTEST_RETRY_S, self._engine_s * self._pending / 2
            )  # half of them are done then
            raise OverloadError(
                f"{self._pending} slices are under way, the most that are taken; try again in {retry_after_s:.1f} s",
                retry_after_s=retry_after_s,
            )
        self._pending += 1
        try:
            yield
        finally:
            self._pending -= 1

    def _infer(self, pixels: NDArray[np.float32]) -> _Inferred:
        started = perf_counter()
        probability = self._engine.run(pixels[np.newaxis, np.newaxis]).probability
        if probability.shape != (1, *pixels.shape):
            raise EngineError(
                f"the engine answered with shape {probability.shape}, expected {(1, *pixels.shape)}"
            )
        self._engine_s = perf_counter() - started
        return _Inferred(probability[0], self._engine_s * 1e3)


async def _run(pool: ThreadPoolExecutor, work: Callable[[], _Result]) -> _Result:
    return await asyncio.get_running_loop().run_in_executor(pool, work)
