"""The use case: a DICOM file's bytes in, a segmentation out. Knows neither gRPC nor protobuf."""

import asyncio
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from lvseg.contour import mask_area_mm2, mask_to_contour, parse_contour
from lvseg.dicom import Slice, read_slice
from lvseg.errors import DicomError, EngineError, OverloadError
from lvseg.metrics import Agreement, compare
from lvseg.resample import mask_from_working, to_working, working_shape
from lvseg_export.engines.base import Engine
from lvseg_serve import defaults
from lvseg_serve.answers import ALL_OUTPUTS, ModelIdentity, Output, Segmentation, StageTimings

MAX_WORKING_PIXELS = 1024 * 1024
"""Largest working grid: a wrong pixel spacing of a few metres would else ask for all the memory there is."""

_SHORTEST_RETRY_S = 0.1

_Result = TypeVar("_Result")


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceRequest:
    """One slice to segment."""

    dicom: bytes
    frame: int | None = None
    """Which frame of a multi-frame object, counted from 1; None: the only one there is."""
    pixel_spacing: tuple[float, float] | None = None
    """(between rows, between columns) in mm for a file that has none."""
    contour: NDArray[np.float64] | str | None = None
    """Contour to compare with: points of shape (N, 2), or the text of a Sunnybrook contour file."""
    outputs: frozenset[Output] = ALL_OUTPUTS


class _Prepared(NamedTuple):
    slice: Slice
    contour: NDArray[np.float64] | None
    pixels: NDArray[np.float32]  # (H, W), on the working grid
    decode_ms: float
    resample_ms: float


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
            prepared = await _run(self._workers, lambda: self._prepare(request))
            inferred = await _run(self._engine_thread, lambda: self._infer(prepared.pixels))
            return await _run(self._workers, lambda: self._finish(request, prepared, inferred, started))

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

    def _prepare(self, request: SliceRequest) -> _Prepared:
        watch = _Stopwatch()
        slice_ = read_slice(request.dicom, frame=request.frame, pixel_spacing=request.pixel_spacing)
        contour = parse_contour(request.contour) if isinstance(request.contour, str) else request.contour
        decode_ms = watch.lap_ms()
        rows, columns = working_shape(slice_.pixels.shape, slice_.pixel_spacing, self._working_spacing_mm)
        if rows * columns > MAX_WORKING_PIXELS:
            raise DicomError(
                f"the slice would have {rows} x {columns} pixels at the model's {self._working_spacing_mm:g} mm, "
                f"at most {MAX_WORKING_PIXELS} in all are accepted; check its pixel spacing",
                reason="TOO_LARGE",
                field="PixelSpacing",
                expected=f"at most {MAX_WORKING_PIXELS} pixels of {self._working_spacing_mm:g} mm",
            )
        pixels = to_working(slice_.pixels, slice_.pixel_spacing, self._working_spacing_mm)
        return _Prepared(slice_, contour, pixels, decode_ms, watch.lap_ms())

    def _infer(self, pixels: NDArray[np.float32]) -> _Inferred:
        watch = _Stopwatch()
        probability = self._engine.run(pixels[np.newaxis, np.newaxis]).probability
        if probability.shape != (1, *pixels.shape):
            raise EngineError(
                f"the engine answered with shape {probability.shape}, expected {(1, *pixels.shape)}"
            )
        inference_ms = watch.lap_ms()
        self._engine_s = inference_ms / 1e3
        return _Inferred(probability[0], inference_ms)

    def _finish(
        self, request: SliceRequest, prepared: _Prepared, inferred: _Inferred, started: float
    ) -> Segmentation:
        watch = _Stopwatch()
        slice_ = prepared.slice
        rows, columns = slice_.pixels.shape
        mask = mask_from_working(inferred.probability, slice_.pixels.shape)
        outline = mask_to_contour(mask) if Output.CONTOUR in request.outputs else None
        area_mm2 = mask_area_mm2(mask, slice_.pixel_spacing)
        postprocess_ms = watch.lap_ms()
        agreement: Agreement | None = None
        compare_ms = 0.0
        if prepared.contour is not None:
            agreement = compare(mask, prepared.contour, slice_.pixel_spacing)
            compare_ms = watch.lap_ms()
        return Segmentation(
            rows=rows,
            columns=columns,
            frame=slice_.frame,
            pixel_spacing=slice_.pixel_spacing,
            mask=mask if Output.MASK in request.outputs else None,
            contour=outline,
            area_mm2=area_mm2,
            agreement=agreement,
            model=self._model,
            timings=StageTimings(
                decode_ms=prepared.decode_ms,
                resample_ms=prepared.resample_ms,
                inference_ms=inferred.inference_ms,
                postprocess_ms=postprocess_ms,
                compare_ms=compare_ms,
                total_ms=(perf_counter() - started) * 1e3,
            ),
        )


class _Stopwatch:
    """Tells the milliseconds since it was last asked."""

    def __init__(self) -> None:
        self._last = perf_counter()

    def lap_ms(self) -> float:
        last, self._last = self._last, perf_counter()
        return (self._last - last) * 1e3


async def _run(pool: ThreadPoolExecutor, work: Callable[[], _Result]) -> _Result:
    return await asyncio.get_running_loop().run_in_executor(pool, work)
