"""The batcher, around an engine that can be held up and looked into."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg_export.engines.base import Prediction
from lvseg_serve.batching import Batcher, BatchSettings, Inferred

ALL = BatchSettings(max_size=8, budget_ms=1e6)
"""Everything that waits goes together."""


class HeldEngine:
    """Answers a slice by its own first pixel, once it may; remembers what came together."""

    name = file = precision = version = "held"
    threads = concurrency = 1

    def __init__(self) -> None:
        self.batches: list[list[float]] = []
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.fails_on: float | None = None

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        self.batches.append(pixels[:, 0, 0, 0].tolist())
        self.entered.set()
        assert self.gate.wait(timeout=60)
        if self.fails_on in pixels[:, 0, 0, 0]:
            raise EngineError("it failed")
        probability = pixels[:, 0]
        return Prediction((probability > 0).astype(np.uint8), probability)


def slices(*values: float, side: int = 4) -> NDArray[np.float32]:
    return np.stack([np.full((1, side, side), value, np.float32) for value in values])


def values(inferred: Inferred) -> list[float]:
    return inferred.prediction.probability[:, 0, 0].tolist()


@pytest.fixture
def engine() -> HeldEngine:
    return HeldEngine()


@pytest.fixture
async def make_batcher(engine: HeldEngine) -> AsyncIterator[Callable[[BatchSettings], Batcher]]:
    made: list[Batcher] = []

    def make(settings: BatchSettings = ALL) -> Batcher:
        made.append(Batcher(engine, settings))
        return made[-1]

    yield make
    engine.gate.set()
    for batcher in made:
        await batcher.close()


async def learned(batcher: Batcher, engine: HeldEngine) -> None:
    """Let a batcher see the engine's speed, and hold the engine up from then on."""
    engine.gate.set()
    await batcher.run(slices(0))
    engine.gate.clear()
    engine.entered.clear()
    engine.batches.clear()


async def begun(
    batcher: Batcher, engine: HeldEngine, *jobs: NDArray[np.float32]
) -> list[asyncio.Task[Inferred]]:
    """Hold the engine up with the first of the jobs, and let the others wait behind it."""
    tasks = [asyncio.create_task(batcher.run(jobs[0]))]
    while not engine.entered.is_set():
        await asyncio.sleep(0)
    for count, job in enumerate(jobs[1:], start=1):
        tasks.append(asyncio.create_task(batcher.run(job)))
        while batcher.queued < sum(len(waiting) for waiting in jobs[1 : count + 1]):
            await asyncio.sleep(0)
    return tasks


async def test_a_slice_does_not_wait_when_the_engine_is_idle(make_batcher, engine):
    batcher = make_batcher()
    task = asyncio.create_task(batcher.run(slices(1)))
    while not engine.entered.is_set():
        await asyncio.sleep(0)
    assert engine.batches == [[1]]
    engine.gate.set()
    assert values(await task) == [1]


async def test_slices_that_wait_go_together_and_each_gets_its_own_answer(make_batcher, engine):
    batcher = make_batcher()
    await learned(batcher, engine)
    tasks = await begun(batcher, engine, slices(1), slices(2), slices(3), slices(4))
    engine.gate.set()
    assert [values(await task) for task in tasks] == [[1], [2], [3], [4]]
    assert engine.batches == [[1], [2, 3, 4]]


async def test_slices_that_came_together_stay_together(make_batcher, engine):
    batcher = make_batcher()
    await learned(batcher, engine)
    tasks = await begun(batcher, engine, slices(1), slices(2, 3), slices(4))
    engine.gate.set()
    assert [values(await task) for task in tasks] == [[1], [2, 3], [4]]
    assert engine.batches == [[1], [2, 3, 4]]


async def test_only_slices_of_one_shape_go_together_and_the_oldest_goes_first(make_batcher, engine):
    batcher = make_batcher()
    await learned(batcher, engine)
    jobs = [slices(1), slices(2), slices(3, side=6), slices(4), slices(5, side=6)]
    await asyncio.gather(*[done(engine, task) for task in await begun(batcher, engine, *jobs)])
    assert engine.batches == [[1], [2, 4], [3, 5]]


async def done(engine: HeldEngine, task: asyncio.Task[Inferred]) -> Inferred:
    engine.gate.set()
    return await task


async def test_no_more_go_together_than_the_limit(make_batcher, engine):
    batcher = make_batcher(BatchSettings(max_size=2, budget_ms=1e6))
    await learned(batcher, engine)
    jobs = [slices(value) for value in (1, 2, 3, 4)]
    await asyncio.gather(*[done(engine, task) for task in await begun(batcher, engine, *jobs)])
    assert engine.batches == [[1], [2, 3], [4]]


async def test_an_engine_too_slow_for_the_budget_takes_one_slice_at_a_time(make_batcher, engine):
    batcher = make_batcher(BatchSettings(max_size=8, budget_ms=0))
    await learned(batcher, engine)
    jobs = [slices(value) for value in (1, 2, 3)]
    await asyncio.gather(*[done(engine, task) for task in await begun(batcher, engine, *jobs)])
    assert engine.batches == [[1], [2], [3]]


async def test_nothing_goes_together_before_the_engine_s_speed_is_known(make_batcher, engine):
    batcher = make_batcher()
    jobs = [slices(1), slices(2), slices(3)]
    tasks = await begun(batcher, engine, *jobs)
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert engine.batches == [[1], [2, 3]]  # known from the first call on


@pytest.mark.parametrize("leaver", [0, 1, 3])
async def test_a_caller_that_leaves_does_not_disturb_its_batch(make_batcher, engine, leaver):
    batcher = make_batcher()
    await learned(batcher, engine)
    tasks = await begun(batcher, engine, *(slices(value) for value in (9, 1, 2, 3)))
    tasks[leaver].cancel()
    engine.gate.set()
    stayed = [task for task in tasks if task is not tasks[leaver]]
    expected = [[value] for place, value in enumerate((9, 1, 2, 3)) if place != leaver]
    assert [values(answer) for answer in await asyncio.gather(*stayed)] == expected


async def test_a_caller_that_leaves_the_queue_never_reaches_the_engine(make_batcher, engine):
    batcher = make_batcher()
    await learned(batcher, engine)
    tasks = await begun(batcher, engine, slices(1), slices(2), slices(3))
    tasks[1].cancel()
    engine.gate.set()
    await asyncio.gather(tasks[0], tasks[2])
    assert engine.batches == [[1], [3]]


async def test_a_caller_that_leaves_while_its_batch_is_in_the_engine_does_not_hold_up_those_behind(
    make_batcher, engine
):
    batcher = make_batcher()
    await learned(batcher, engine)
    tasks = await begun(batcher, engine, slices(1), slices(2), slices(3))
    tasks[0].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    engine.gate.set()
    assert [values(await task) for task in tasks[1:]] == [[2], [3]]


async def test_a_failure_is_that_of_its_batch_and_of_nobody_else(make_batcher, engine):
    batcher = make_batcher()
    await learned(batcher, engine)
    engine.fails_on = 1
    tasks = await begun(batcher, engine, slices(1), slices(2))
    engine.gate.set()
    with pytest.raises(EngineError, match="it failed"):
        await tasks[0]
    assert values(await tasks[1]) == [2]


async def test_as_many_calls_go_on_at_a_time_as_the_engine_takes(make_batcher, engine):
    engine.concurrency = 2
    batcher = make_batcher()
    tasks = [asyncio.create_task(batcher.run(slices(value))) for value in (1, 2, 3)]
    while len(engine.batches) < 2:
        await asyncio.sleep(0)
    assert batcher.queued == 1
    engine.gate.set()
    assert [values(await task) for task in tasks] == [[1], [2], [3]]
    assert sorted(engine.batches) == [[1], [2], [3]]


async def test_a_failure_of_one_call_is_not_that_of_the_call_beside_it(make_batcher, engine):
    engine.concurrency = 2
    engine.fails_on = 1
    batcher = make_batcher()
    tasks = [asyncio.create_task(batcher.run(slices(value))) for value in (1, 2)]
    engine.gate.set()
    with pytest.raises(EngineError, match="it failed"):
        await tasks[0]
    assert values(await tasks[1]) == [2]


async def test_slices_come_the_faster_the_more_calls_go_on_at_a_time(make_batcher, engine):
    engine.gate.set()
    batcher = make_batcher()
    seconds = (await batcher.run(slices(1))).seconds
    assert batcher.slice_seconds == seconds
    engine.concurrency = 4
    assert batcher.slice_seconds == seconds / 4


async def test_an_idle_engine_is_at_nothing_and_a_busy_one_for_ever_longer(make_batcher, engine):
    batcher = make_batcher()
    assert batcher.oldest_call_seconds == 0
    (task,) = await begun(batcher, engine, slices(1))
    first = batcher.oldest_call_seconds
    assert 0 < first < batcher.oldest_call_seconds
    engine.gate.set()
    await task
    await asyncio.sleep(0)  # the call ends after its answers
    assert batcher.oldest_call_seconds == 0


async def test_closing_lets_the_slices_that_were_taken_finish(make_batcher, engine):
    batcher = make_batcher()
    (task,) = await begun(batcher, engine, slices(1))
    closing = asyncio.create_task(batcher.close())
    await asyncio.sleep(0)
    engine.gate.set()
    await closing
    assert values(await task) == [1]
