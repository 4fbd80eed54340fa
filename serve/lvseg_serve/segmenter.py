"""The use case: a DICOM file's bytes in, a segmentation out. Knows neither gRPC nor protobuf."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvseg.errors import OverloadError
from lvseg_export.engines.base import Engine, Prediction
from lvseg_serve import defaults
from lvseg_serve.answers import ModelIdentity, Segmentation, StageTimings
from lvseg_serve.batching import DEFAULT_BATCHES, Batcher, BatchObserver, BatchSettings
from lvseg_serve.stages import Finished, Prepared, SliceRequest, finish, prepare
from lvseg_serve.workers.runner import Runner
from lvseg_serve.workers.threads import WorkerThreads

_SHORTEST_RETRY_S = 0.1
_ORDINARY_PIXELS = 384 * 384
"""Of a slice and of its working grid."""


@dataclass(frozen=True, kw_only=True)
class Room:
    """What a server takes before the first of it is answered, over all callers."""

    slices: int = defaults.MAX_PENDING
    file_bytes: int = defaults.MAX_PENDING_MIB * 2**20
    """Of the files of these slices, and of those that wait for one of their places (:meth:`Segmenter.hold`); one file
    alone may be as large as a message."""


DEFAULT_ROOM = Room()


class Answered(NamedTuple):
    """What the engine says of slices that lie on its working grid."""

    prediction: Prediction
    model: ModelIdentity
    """What the engine runs."""


class Handover(NamedTuple):
    """From an engine to the one that answers from now on."""

    done: "asyncio.Task[None]"
    """Ends when the former engine has nothing more: never, where it hangs."""
    give_up: Callable[[], None]
    """Wait for it no longer: its slices fail in a way that lets them be sent again."""


class Segmenter:
    """Segments slices with one engine, without holding up the event loop.

    Reading runs in workers, and so does the work after the engine where it is more than the way to a worker; the engine
    has threads of its own, where slices that wait go together as :class:`~lvseg_serve.batching.Batcher` says.

    Args:
        engine: Runs the model.
        model: What the engine runs, for the answers.
        working_spacing_mm: Pixel spacing that the model was trained at.
        runner: Runs what comes before and after the engine; by default threads. It is closed with the segmenter.
        room: What may be under way; more is refused at once.
        batches: How far slices are put together.
        observe: Told of each call of the engine.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        model: ModelIdentity,
        working_spacing_mm: float,
        runner: Runner | None = None,
        room: Room = DEFAULT_ROOM,
        batches: BatchSettings = DEFAULT_BATCHES,
        observe: BatchObserver | None = None,
    ) -> None:
        self._runner = runner or WorkerThreads()
        self._room = room
        self._batches = batches
        self._observe = observe
        self._pending = 0
        self._pending_bytes = 0
        self._released = asyncio.Event()
        self._lost = asyncio.Event()
        self._served = self._serve(engine, model, working_spacing_mm)

    @property
    def pending(self) -> int:
        """Slices under way."""
        return self._pending

    @property
    def queued(self) -> int:
        """Slices of them that wait for the engine."""
        return self._served.batcher.queued

    @property
    def oldest_call_seconds(self) -> float:
        """How long the engine has been at what it has been at for longest; 0: it is idle."""
        return self._served.batcher.oldest_call_seconds

    @property
    def pending_bytes(self) -> int:
        """Size of the files of the slices under way, and of those that are held."""
        return self._pending_bytes

    @property
    def workers(self) -> int:
        """How many slices can be read at a time at this moment: workers that are alive."""
        return self._runner.alive

    @contextmanager
    def hold(self, file_bytes: int) -> Iterator[None]:
        """Count a file into the room that came before its slice has a place, in the event loop's thread."""
        self._pending_bytes += file_bytes
        try:
            yield
        finally:
            self._pending_bytes -= file_bytes
            self._released.set()

    async def room_for_files(self) -> None:
        """Wait until all files together are smaller than what the room has for them."""
        while self._pending_bytes >= self._room.file_bytes:
            self._released.clear()
            await self._released.wait()

    async def segment(self, request: SliceRequest, *, held: bool = False) -> Segmentation:
        """Segment one slice.

        A caller that gives up takes its slice out of the queue; one already in the engine is finished.

        Args:
            request: The slice.
            held: Whether its file is counted already, by :meth:`hold`.

        Raises:
            OverloadError: If too many slices are under way.
            DicomError: If the object cannot be read as a slice, or its working grid would be too large.
            ContourError: If the contour is malformed or does not fit the slice.
            EngineError: If the engine fails.
            WorkerError: If a worker does.
        """
        started = perf_counter()
        with self._place(0 if held else len(request.dicom)), self._served.in_use() as served:
            prepared = await self._runner.run(prepare, request, served.working_spacing_mm)
            inferred = await served.batcher.run(prepared.pixels[np.newaxis, np.newaxis])
            probability = inferred.prediction.probability[0]
            finished = await self._finish(probability, prepared, request)
        rows, columns = prepared.grid.shape
        return Segmentation(
            rows=rows,
            columns=columns,
            frame=prepared.grid.frame,
            pixel_spacing=prepared.grid.pixel_spacing,
            mask=finished.mask,
            contour=finished.contour,
            boundaries=finished.boundaries,
            probability=finished.probability,
            area_mm2=finished.area_mm2,
            agreement=finished.agreement,
            contour_form=finished.contour_form,
            plausibility=finished.plausibility,
            model=served.model,
            timings=StageTimings(
                decode_ms=prepared.decode_ms,
                resample_ms=prepared.resample_ms,
                inference_ms=inferred.seconds * 1e3,
                postprocess_ms=finished.postprocess_ms,
                compare_ms=finished.compare_ms,
                total_ms=(perf_counter() - started) * 1e3,
            ),
        )

    async def _finish(
        self, probability: NDArray[np.float32], prepared: Prepared, request: SliceRequest
    ) -> Finished:
        """Run the stage after the engine here for an ordinary slice: the way to a worker would take as long."""
        grid, compared = prepared.grid, prepared.compared
        pixels = max(grid.shape[0] * grid.shape[1], probability.size)
        if compared is None and pixels <= _ORDINARY_PIXELS:
            return finish(probability, grid, compared, request.outputs)
        return await self._runner.run(finish, probability, grid, compared, request.outputs)

    async def infer(self, pixels: NDArray[np.float32]) -> Answered:
        """Run the engine on slices (N, 1, H, W) that lie on its working grid already.

        Raises:
            OverloadError: If too many slices are under way.
            EngineError: If the shape is none that the engine takes, or it fails.
        """
        with self._place(pixels.nbytes), self._served.in_use() as served:
            return Answered((await served.batcher.run(pixels)).prediction, served.model)

    async def probe(self, pixels: NDArray[np.float32]) -> Prediction:
        """Run the engine on slices (N, 1, H, W) before all that wait, apart from them and without one of their places.

        Raises:
            EngineError: If it fails.
        """
        with self._served.in_use() as served:
            return (await served.batcher.run(pixels, urgent=True)).prediction

    async def lost(self) -> None:
        """Wait until an engine is lost; for ever, mostly. Whoever's slices it had has the error.

        Each loss is told once: one of an engine that no longer answers says nothing of its successor.
        """
        await self._lost.wait()
        self._lost.clear()

    def swap(self, engine: Engine, *, model: ModelIdentity, working_spacing_mm: float) -> Handover:
        """Let another engine answer from now on; that which slices under way began with finishes them."""
        former, self._served = self._served, self._serve(engine, model, working_spacing_mm)
        return Handover(asyncio.create_task(former.close()), former.batcher.give_up)

    async def close(self) -> None:
        """Finish the work that has begun and end the threads."""
        await self._served.close()
        await self._runner.close()

    def _serve(self, engine: Engine, model: ModelIdentity, working_spacing_mm: float) -> "_Served":
        batcher = Batcher(engine, self._batches, self._observe, on_lost=self._lost.set)
        return _Served(batcher, model, working_spacing_mm)

    @contextmanager
    def _place(self, file_bytes: int) -> Iterator[None]:
        """Take one of the places, in the event loop's thread; 0 bytes are those of a file that is held."""
        full = self._pending >= self._room.slices
        crowded = self._pending_bytes > 0 and self._pending_bytes + file_bytes > self._room.file_bytes
        if full or (file_bytes and crowded):
            # Half of them are done then.
            retry_after_s = max(_SHORTEST_RETRY_S, self._served.batcher.slice_seconds * self._pending / 2)
            size = "" if full else f" of {self._pending_bytes / 2**20:.0f} MiB"
            raise OverloadError(
                f"{self._pending} slices{size} are under way, the most that are taken; "
                f"try again in {retry_after_s:.1f} s",
                retry_after_s=retry_after_s,
            )
        self._pending += 1
        try:
            with self.hold(file_bytes):
                yield
        finally:
            self._pending -= 1


@dataclass(eq=False)
class _Served:
    """An engine, and the slices that began with it."""

    batcher: Batcher
    model: ModelIdentity
    working_spacing_mm: float
    _users: int = 0
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    @contextmanager
    def in_use(self) -> Iterator["_Served"]:
        self._users += 1
        try:
            yield self
        finally:
            self._users -= 1
            self._left.set()

    async def close(self) -> None:
        """Wait for the last of its slices, and end its threads."""
        while self._users:
            self._left.clear()
            await self._left.wait()
        await self.batcher.close()
