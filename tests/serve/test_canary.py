"""Health by asking: a segmenter with an engine that goes wrong, and what its canary makes of it."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from lvseg.errors import EngineError, EngineLostError
from lvseg_export.engines.base import Prediction
from lvseg_export.gate import Canary
from lvseg_serve.answers import ServerInfo
from lvseg_serve.canary import CanarySettings, CanaryWatch
from lvseg_serve.events import Health
from lvseg_serve.segmenter import Room, Segmenter
from lvseg_serve.stages import SliceRequest
from lvseg_serve.state import ServerState

PHANTOM = np.full((1, 1, 32, 32), 100, np.float32)
PHANTOM[..., 8:24, 8:24] = 1000


class MoodyEngine:
    """Finds what is brighter than 500, unless it is told to do something else."""

    name, version, file, precision, threads, concurrency = "moody-cpu", "1", "model.onnx", "fp32", 1, 1

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.blind = False

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        if self.error is not None:
            raise self.error
        mask = pixels[:, 0] > (np.inf if self.blind else 500)
        return Prediction(mask.astype(np.uint8), mask.astype(np.float32))


class NoWorkers:
    """What is left when every worker died and none can be started."""

    alive = 0

    async def close(self) -> None:
        pass


@pytest.fixture
def engine() -> MoodyEngine:
    return MoodyEngine()


@pytest.fixture
def state(info: ServerInfo) -> ServerState:
    return ServerState(info, serving=False)


@pytest.fixture
async def segmenters() -> AsyncIterator[list[Segmenter]]:
    """Those of the watches that a test makes."""
    made: list[Segmenter] = []
    yield made
    for segmenter in made:
        await segmenter.close()


@pytest.fixture
def make_watch(make_segmenter, segmenters: list[Segmenter], state: ServerState) -> Callable[..., CanaryWatch]:

    def make(engine, *, failures: int = 3, timeout_s: float = 60, **options) -> CanaryWatch:
        segmenters.append(make_segmenter(engine, **options))
        canary = Canary(
            engine=engine,
            pixels=PHANTOM,
            expected=MoodyEngine().run(PHANTOM),
            working_spacing_mm=1.5,
        )
        settings = CanarySettings(every_s=3600, failures=failures, timeout_s=timeout_s)
        return CanaryWatch(segmenters[-1], lambda: canary, state, settings)

    return make


async def test_a_server_serves_once_its_first_canary_passed(make_watch, engine, state: ServerState) -> None:
    watch = make_watch(engine)
    assert not state.serving
    await watch.ask()
    assert (state.serving, state.why, watch.passed) == (True, "", 1)


@pytest.mark.parametrize(
    ("mood", "why"),
    [
        ({"blind": True}, "moody-cpu (fp32) differs from the trained model on the canary"),
        ({"error": EngineError("it failed")}, "it failed"),
        ({"error": ValueError("Planted^Name")}, "the engine raised ValueError at the canary"),
    ],
    ids=["a wrong mask", "an error", "an error of no kind that is known"],
)
async def test_an_engine_that_goes_wrong_is_not_served_until_it_is_right_again(
    make_watch, engine, state: ServerState, mood: dict[str, object], why: str
) -> None:
    watch = make_watch(engine)
    await watch.ask()
    vars(engine).update(mood)
    await watch.ask()
    assert not state.serving
    assert state.why.startswith(why)
    vars(engine).update(vars(MoodyEngine()))
    await watch.ask()
    assert (state.serving, watch.failures) == (True, 0)


async def test_each_change_is_logged_once(make_watch, engine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="lvseg_serve")
    watch = make_watch(engine)
    for engine.blind in (False, False, True, True, False, False):
        await watch.ask()
    assert [(event.status, bool(event.why)) for event in _health(caplog)] == [
        ("NOT_SERVING", True),
        ("SERVING", False),
    ]


async def test_a_server_that_never_served_says_why(
    make_watch, engine, caplog: pytest.LogCaptureFixture
) -> None:
    engine.blind = True
    watch = make_watch(engine)
    await watch.ask()
    await watch.ask()
    assert [event.status for event in _health(caplog)] == ["NOT_SERVING"]


def _health(caplog: pytest.LogCaptureFixture) -> list[Health]:
    return [record.msg for record in caplog.records if isinstance(record.msg, Health)]


async def test_an_engine_that_does_not_answer_is_not_served(
    make_watch, gated_engine, state: ServerState
) -> None:
    watch = make_watch(gated_engine, timeout_s=0.01)
    await watch.ask()
    assert state.why == "the engine gave the canary no answer within 0.01 s"
    gated_engine.gate.set()


async def test_an_engine_that_hangs_at_a_slice_is_not_served_though_it_answers_the_canary(
    make_watch, segmenters, gated_engine, state: ServerState, dicom: bytes
) -> None:
    gated_engine.concurrency = 2
    watch = make_watch(gated_engine, timeout_s=0.01)
    hanging = asyncio.create_task(segmenters[-1].segment(SliceRequest(dicom=dicom)))
    while segmenters[-1].oldest_call_seconds <= 0.01:
        await asyncio.sleep(0.001)
    await watch.ask()
    assert state.why == "the engine has been at one call for 0 s"
    gated_engine.gate.set()
    await hanging


async def test_without_a_worker_nothing_is_served(make_watch, engine, state: ServerState) -> None:
    await make_watch(engine, runner=NoWorkers()).ask()
    assert state.why == "no worker is alive"


async def test_as_many_failures_in_a_row_as_allowed_end_it_after_the_state_has_said_so(
    make_watch, engine, state: ServerState
) -> None:
    watch = make_watch(engine, failures=2)
    engine.blind = True
    await watch.ask()
    engine.blind = False
    await watch.ask()
    engine.blind = True
    await watch.ask()
    with pytest.raises(EngineLostError, match="2 canaries in a row failed, the last one: moody-cpu"):
        await watch.ask()
    assert not state.serving


async def test_an_engine_that_is_lost_at_a_slice_ends_it_at_once(
    make_watch, segmenters, engine, state: ServerState, dicom: bytes
) -> None:
    watch = make_watch(engine)
    watching = asyncio.create_task(watch.run())
    while not state.serving:
        await asyncio.sleep(0.001)
    engine.error = EngineLostError("cudaErrorIllegalAddress")
    with pytest.raises(EngineLostError):
        await segmenters[-1].segment(SliceRequest(dicom=dicom))
    with pytest.raises(EngineLostError):
        await watching
    assert state.why == "the engine is lost: cudaErrorIllegalAddress"


async def test_a_loss_is_told_once(make_watch, segmenters, engine, dicom: bytes) -> None:
    make_watch(engine)
    engine.error = EngineLostError("of the engine before this one")
    with pytest.raises(EngineLostError):
        await segmenters[-1].segment(SliceRequest(dicom=dicom))
    await segmenters[-1].lost()
    engine.error = None
    again = asyncio.create_task(segmenters[-1].lost())
    await segmenters[-1].segment(SliceRequest(dicom=dicom))
    assert not again.done()
    again.cancel()


async def test_the_canary_takes_no_place_and_waits_for_no_slice(
    make_watch, segmenters, gated_engine, dicom: bytes
) -> None:
    watch = make_watch(gated_engine, room=Room(slices=2))
    segmenter = segmenters[-1]
    slices = [asyncio.create_task(segmenter.segment(SliceRequest(dicom=dicom)))]
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    slices.append(asyncio.create_task(segmenter.segment(SliceRequest(dicom=dicom))))
    while segmenter.queued < 1:
        await asyncio.sleep(0.001)
    asking = asyncio.create_task(watch.ask())
    while segmenter.queued < 2:
        await asyncio.sleep(0.001)
    gated_engine.gate.set()
    await asyncio.gather(asking, *slices)
    assert gated_engine.shapes == [(1, 1, 64, 72), PHANTOM.shape, (1, 1, 64, 72)]


async def test_another_model_is_asked_though_the_former_hangs_at_its_canary(
    make_watch, segmenters, gated_engine, engine, model, state: ServerState
) -> None:
    watch = make_watch(gated_engine, failures=1)
    watching = asyncio.create_task(watch.run())
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    segmenters[-1].swap(engine, model=model, working_spacing_mm=1.5)
    watch.ask_now()
    async with asyncio.timeout(30):  # half of the time that a canary has
        while not state.serving:
            await asyncio.sleep(0.001)
    assert (watch.passed, watch.failures) == (1, 0)
    watching.cancel()
    gated_engine.gate.set()


async def test_another_model_is_asked_at_once(make_watch, engine, state: ServerState) -> None:
    watch = make_watch(engine)
    engine.blind = True
    watching = asyncio.create_task(watch.run())
    while watch.failures < 1:
        await asyncio.sleep(0.001)
    engine.blind = False
    watch.ask_now()
    while not state.serving:
        await asyncio.sleep(0.001)
    watching.cancel()
