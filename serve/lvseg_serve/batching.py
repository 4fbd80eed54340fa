"""Adaptive batching: slices that wait while the engine is at work go into it together, as far as that is worth it."""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from time import perf_counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvseg.errors import EngineError, EngineLostError, EngineReplacedError
from lvseg_export.engines.base import Engine, Prediction

_MEMORY = 0.8
"""Share of what was known of an engine's speed that a further batch leaves."""


@dataclass(frozen=True, kw_only=True)
class BatchSettings:
    """How far slices are put together."""

    max_size: int = 32
    """Slices in one call of the engine."""
    budget_ms: float = 20.0
    """How long such a call may take, as far as can be told; one slice may always take as long as it needs."""


DEFAULT_BATCHES = BatchSettings()


class Inferred(NamedTuple):
    """What the engine says of slices that came together."""

    prediction: Prediction
    """Mask and probability, shape (N, H, W)."""
    seconds: float
    """Of the call, which other slices may have shared."""


BatchObserver = Callable[[int, float], None]
"""Told of each call of an engine: its slices and seconds."""


@dataclass(eq=False)
class _Job:
    pixels: NDArray[np.float32]  # (n, 1, H, W)
    urgent: bool = False
    answer: asyncio.Future[Inferred] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Batcher:
    """Runs an engine, with as many calls at a time as it takes, each in a thread.

    A slice never waits for company: it is run at once when the engine takes another call. Those that came while it did
    not are taken in their order, with others of the same shape, up to the number that the time budget allows by the
    speed seen so far. On a processor that gains nothing by batches this is one slice, so none waits for another's work.

    A caller that leaves takes its slice out of the queue; one that leaves later disturbs nobody. An engine that
    fails, fails those whose slices it had.

    Args:
        engine: What is run.
        settings: How far slices are put together.
        observe: Told of each call.
        on_lost: Called when the engine is lost, in the event loop's thread.
    """

    def __init__(
        self,
        engine: Engine,
        settings: BatchSettings = DEFAULT_BATCHES,
        observe: BatchObserver | None = None,
        on_lost: Callable[[], object] | None = None,
    ) -> None:
        self._engine = engine
        self._on_lost = on_lost
        self._settings = settings
        self._observe = observe
        self._threads = ThreadPoolExecutor(engine.concurrency, thread_name_prefix="lvseg-engine")
        self._waiting: deque[_Job] = deque()
        self._unanswered: set[_Job] = set()
        self._calls: dict[asyncio.Task[None], float] = {}
        self._seconds_per_pixel = 0.0
        self._slice_seconds = 0.0

    @property
    def queued(self) -> int:
        """How many slices wait; any thread may ask."""
        waiting = tuple(self._waiting)  # at once: the event loop goes on adding to it
        return sum(len(job.pixels) for job in waiting if not job.answer.done())

    @property
    def slice_seconds(self) -> float:
        """Seconds from one slice's answer to the next while slices wait, as far as is known; 0 before the first."""
        return self._slice_seconds / self._engine.concurrency

    @property
    def oldest_call_seconds(self) -> float:
        """How long ago that call of the engine began which has been under way for longest; 0: there is none."""
        return perf_counter() - min(self._calls.values()) if self._calls else 0.0

    async def run(self, pixels: NDArray[np.float32], *, urgent: bool = False) -> Inferred:
        """Run slices (N, 1, H, W) that belong together.

        Args:
            pixels: The slices.
            urgent: Whether they go before all that wait, and alone.

        Raises:
            EngineError: If the engine fails.
            EngineReplacedError: If it is given up.
        """
        job = _Job(pixels, urgent)
        if urgent:
            self._waiting.appendleft(job)
        else:
            self._waiting.append(job)
        self._unanswered.add(job)
        try:
            self._begin()
            return await job.answer
        finally:
            self._unanswered.discard(job)

    def give_up(self) -> None:
        """Wait no longer for the engine, which hangs: whoever has slices there, or waits, may send them again."""
        for job in self._unanswered:
            if not job.answer.done():
                job.answer.set_exception(
                    EngineReplacedError(
                        "the engine that had the slice hangs, and another has taken its place; send the slice again"
                    )
                )

    async def close(self) -> None:
        """Finish what was taken, and end the threads."""
        while self._calls:
            await asyncio.wait(self._calls)
        self._threads.shutdown()

    def _begin(self) -> None:
        """Begin as many calls as the engine takes and there is work for."""
        while len(self._calls) < self._engine.concurrency and (jobs := self._take()):
            call = asyncio.create_task(self._call(jobs))
            self._calls[call] = perf_counter()
            call.add_done_callback(self._ended)

    def _ended(self, call: asyncio.Task[None]) -> None:
        del self._calls[call]
        self._begin()

    async def _call(self, jobs: list[_Job]) -> None:
        try:
            inferred = await asyncio.get_running_loop().run_in_executor(self._threads, self._infer, jobs)
        except Exception as error:  # noqa: BLE001  it is the callers', each of whom gets it
            if isinstance(error, EngineLostError) and self._on_lost is not None:
                self._on_lost()
            for job in jobs:
                if not job.answer.done():
                    job.answer.set_exception(error)
        else:
            self._learn(jobs, inferred.seconds)
            self._share(jobs, inferred)

    def _take(self) -> list[_Job]:
        """Return the oldest job, and what goes with it."""
        waiting = [job for job in self._waiting if not job.answer.done()]
        self._waiting = deque(waiting)
        if not waiting:
            return []
        first = waiting[0]
        shape, room = first.pixels.shape[1:], 0 if first.urgent else self._room(first.pixels)
        taken: list[_Job] = []
        left: deque[_Job] = deque()
        for job in waiting:
            if job is first or (job.pixels.shape[1:] == shape and len(job.pixels) <= room):
                taken.append(job)
                room -= len(job.pixels)
            else:
                left.append(job)
        self._waiting = left
        return taken

    def _room(self, pixels: NDArray[np.float32]) -> int:
        """Return how many slices of the size of these may go into one call."""
        seconds = self._seconds_per_pixel * pixels[0].size
        if seconds == 0:
            return 1  # nothing is known yet
        return min(self._settings.max_size, int(self._settings.budget_ms / 1e3 / seconds))

    def _infer(self, jobs: list[_Job]) -> Inferred:
        pixels = jobs[0].pixels if len(jobs) == 1 else np.concatenate([job.pixels for job in jobs])
        started = perf_counter()
        prediction = self._engine.run(pixels)
        seconds = perf_counter() - started
        expected = (len(pixels), *pixels.shape[2:])
        for found in prediction:
            if found.shape != expected:
                raise EngineError(f"the engine answered with shape {found.shape}, expected {expected}")
        return Inferred(prediction, seconds)

    def _learn(self, jobs: list[_Job], seconds: float) -> None:
        now = seconds / sum(job.pixels.size for job in jobs)
        known = self._seconds_per_pixel
        self._seconds_per_pixel = now if known == 0 else _MEMORY * known + (1 - _MEMORY) * now
        slices = sum(len(job.pixels) for job in jobs)
        self._slice_seconds = seconds / slices
        if self._observe is not None and not jobs[0].urgent:  # what is urgent is no caller's
            self._observe(slices, seconds)

    def _share(self, jobs: list[_Job], inferred: Inferred) -> None:
        start = 0
        for job in jobs:
            end = start + len(job.pixels)
            if not job.answer.done():
                mask, probability = inferred.prediction
                job.answer.set_result(
                    Inferred(Prediction(mask[start:end], probability[start:end]), inferred.seconds)
                )
            start = end
