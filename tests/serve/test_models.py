"""Swaps of the model, with bundles on ONNX Runtime, under a segmenter that is asked all the time."""

import asyncio
import logging
import shutil
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest

from lvseg.errors import BundleError, EngineError, EngineReplacedError, InputError, OptionError
from lvseg_export.bundle import Bundle, load_bundle
from lvseg_serve.answers import Segmentation
from lvseg_serve.events import Event, FormerHangs, FormerLetGo, SwapFailed
from lvseg_serve.models import LoadedModel, ModelLoader, Models
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.stages import SliceRequest
from lvseg_serve.state import ServerState
from tests.serve.loading import LOADER


class Held(NamedTuple):
    """A server that is swapped while its engine is at a slice."""

    model: LoadedModel
    models: Models
    segmenter: Segmenter
    slice: asyncio.Task[Segmentation]


FINDS_NOTHING = 2000
"""A limit that is above all of the test's slice."""


@pytest.fixture
def bundles(tmp_path: Path, make_threshold_bundle: Callable[..., Path]) -> Path:
    """Two models, the second of which finds nothing in the test's slice, and one that fails the gate."""
    make_threshold_bundle(tmp_path / "bundles/a", version="a")
    make_threshold_bundle(tmp_path / "bundles/b", version="b", limit=FINDS_NOTHING)
    make_threshold_bundle(tmp_path / "bundles/wrong", version="w", trained_limit=FINDS_NOTHING)
    return tmp_path / "bundles"


@pytest.fixture
def first(bundles: Path) -> LoadedModel:
    return LOADER.load(load_bundle(bundles / "a"))


@pytest.fixture
def state(first: LoadedModel) -> ServerState:
    return ServerState(first.info)


@pytest.fixture
async def segmenter(first: LoadedModel) -> AsyncIterator[Segmenter]:
    segmenter = Segmenter(first.engine, model=first.info.model, working_spacing_mm=1.5)
    yield segmenter
    await segmenter.close()


@pytest.fixture
def models(segmenter: Segmenter, state: ServerState, first: LoadedModel, bundles: Path) -> Models:
    return Models(segmenter, state, LOADER, first, bundles=bundles)


async def test_another_model_answers_and_the_server_says_so(
    models: Models, segmenter: Segmenter, state: ServerState, dicom: bytes
) -> None:
    swapped = await models.swap(Path("b"))
    answer = await segmenter.segment(SliceRequest(dicom=dicom))
    assert (answer.model.version, answer.area_mm2) == ("b", 0.0)
    assert state.info.model == answer.model
    assert [model.version for model in swapped] == ["b", "a"]


async def test_the_way_back_and_back_again(models: Models, segmenter: Segmenter, dicom: bytes) -> None:
    await models.swap(Path("b"))
    await models.roll_back()
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).area_mm2 == 900.0
    await models.roll_back()
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).area_mm2 == 0.0


async def test_without_a_swap_there_is_no_way_back(models: Models) -> None:
    with pytest.raises(OptionError, match="no former model"):
        await models.roll_back()


@pytest.mark.parametrize(
    ("bundle", "error"), [("wrong", EngineError), ("nothing", BundleError)], ids=["fails the gate", "is none"]
)
async def test_a_bundle_that_cannot_answer_changes_nothing_and_the_log_says_why(
    models: Models,
    segmenter: Segmenter,
    state: ServerState,
    first: LoadedModel,
    dicom: bytes,
    caplog: pytest.LogCaptureFixture,
    bundle: str,
    error: type[Exception],
) -> None:
    with pytest.raises(error) as caught:
        await models.swap(Path(bundle))
    assert (models.current, models.former, state.info) == (first, None, first.info)
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).area_mm2 == 900.0
    assert [record.msg for record in caplog.records] == [SwapFailed(error=str(caught.value))]


@pytest.mark.parametrize("path", ["..", "../outside", "link", "/"])
async def test_a_bundle_outside_of_the_folder_of_bundles_is_refused(
    models: Models, bundles: Path, make_threshold_bundle: Callable[..., Path], path: str
) -> None:
    outside = make_threshold_bundle(bundles.parent / "outside")
    (bundles / "link").symlink_to(outside)
    with pytest.raises(InputError) as caught:
        await models.swap(Path(path))
    assert caught.value.reason == "BUNDLE_REFUSED"


async def test_without_a_folder_of_bundles_none_is_taken(
    segmenter: Segmenter, state: ServerState, first: LoadedModel
) -> None:
    with pytest.raises(InputError, match="without --bundles"):
        await Models(segmenter, state, LOADER, first).swap(first.folder)


async def test_a_reload_takes_what_the_folder_holds_by_now(models: Models, bundles: Path) -> None:
    shutil.rmtree(bundles / "a")
    (bundles / "b").rename(bundles / "a")
    await models.reload()
    assert models.current.info.model.version == "b"
    assert models.current.folder == bundles / "a"


async def test_callers_who_bring_slices_to_the_grid_themselves_keep_it(
    segmenter: Segmenter, state: ServerState, first: LoadedModel, bundles: Path
) -> None:
    other = replace(state.info, working_spacing_mm=1.25)
    models = Models(segmenter, ServerState(other), LOADER, first, bundles=bundles, same_grid=True)
    with pytest.raises(BundleError, match=r"wants slices of 1\.5 mm, and callers of --kserve send 1\.25 mm"):
        await models.swap(Path("b"))


hangs_soon = pytest.mark.parametrize("held", [0.2], indirect=True)


@pytest.fixture
async def held(
    request: pytest.FixtureRequest, gated_engine, first: LoadedModel, bundles: Path, dicom: bytes
) -> AsyncIterator[Held]:
    """A server whose engine has a slice and does not return from it until its gate is opened.

    By its parameter, where there is one, the seconds after which an engine is said to hang.
    """
    hanging_s = getattr(request, "param", 60.0)
    model = replace(first, engine=gated_engine)
    segmenter = Segmenter(gated_engine, model=model.info.model, working_spacing_mm=1.5)
    models = Models(segmenter, ServerState(model.info), LOADER, model, bundles=bundles, hanging_s=hanging_s)
    slice_ = asyncio.create_task(segmenter.segment(SliceRequest(dicom=dicom)))
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    yield Held(model, models, segmenter, slice_)
    gated_engine.gate.set()
    await asyncio.wait([slice_])
    await segmenter.close()


async def test_a_slice_is_answered_by_the_model_that_it_began_with(
    held: Held, gated_engine, dicom: bytes
) -> None:
    swapped = await held.models.swap(Path("b"))
    assert (swapped.model.version, held.slice.done()) == ("b", False)
    assert (await held.segmenter.segment(SliceRequest(dicom=dicom))).model.version == "b"
    gated_engine.gate.set()
    assert ((await held.slice).model.version, (await held.slice).area_mm2) == ("a", 900.0)


async def test_the_way_back_waits_for_the_call_that_the_former_engine_is_at(
    held: Held, gated_engine, dicom: bytes
) -> None:
    await held.models.swap(Path("b"))
    way_back = asyncio.create_task(held.models.roll_back())
    assert (await held.segmenter.segment(SliceRequest(dicom=dicom))).model.version == "b"
    assert held.models.current is not held.model
    gated_engine.gate.set()
    await way_back
    assert held.models.current is held.model


@hangs_soon
async def test_there_is_no_way_back_to_an_engine_that_hangs_and_another_swap_is_taken(held: Held) -> None:
    await held.models.swap(Path("b"))
    with pytest.raises(EngineError, match=r"at one call for more than 0\.2 s"):
        await held.models.roll_back()
    assert held.models.current.info.model.version == "b"
    assert (await held.models.swap(Path("a"))).former_model.version == "b"


@hangs_soon
async def test_slices_at_an_engine_that_hangs_may_be_sent_again_when_it_is_replaced(
    held: Held, gated_engine, dicom: bytes
) -> None:
    waiting = asyncio.create_task(held.segmenter.segment(SliceRequest(dicom=dicom)))
    while held.segmenter.queued < 1:
        await asyncio.sleep(0.01)
    await held.models.swap(Path("b"))
    for slice_ in (held.slice, waiting):
        with pytest.raises(EngineReplacedError, match="send the slice again"):
            await slice_
    assert held.segmenter.pending == 0


@hangs_soon
async def test_the_log_says_when_a_former_engine_hangs_and_when_it_returns(
    held: Held, gated_engine, caplog: pytest.LogCaptureFixture
) -> None:
    def said(kind: type[Event]) -> list[Event]:
        return [record.msg for record in caplog.records if isinstance(record.msg, kind)]

    caplog.set_level(logging.INFO, logger="lvseg_serve")
    await held.models.swap(Path("b"))
    while not said(FormerHangs):
        await asyncio.sleep(0.01)
    assert said(FormerHangs) == [FormerHangs(model="threshold", version="a", seconds=0.2)]
    assert said(FormerLetGo) == []
    gated_engine.gate.set()
    while not said(FormerLetGo):
        await asyncio.sleep(0.01)


async def test_a_runtime_that_raises_what_nobody_knows_changes_nothing_and_the_log_withholds_its_text(
    segmenter: Segmenter,
    state: ServerState,
    first: LoadedModel,
    bundles: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    class BrokenLoader(ModelLoader):
        def load(self, bundle: Bundle) -> LoadedModel:  # noqa: ARG002
            raise RuntimeError("Planted^Name")

    models = Models(segmenter, state, BrokenLoader(**vars(LOADER)), first, bundles=bundles)
    with pytest.raises(RuntimeError):
        await models.swap(Path("b"))
    assert (models.current, models.former) == (first, None)
    (failed,) = [record.msg for record in caplog.records]
    assert failed.error.startswith("RuntimeError: (text withheld)")


async def test_no_slice_fails_while_models_come_and_go(
    models: Models, segmenter: Segmenter, dicom: bytes
) -> None:
    seen: list[tuple[str, float]] = []

    async def ask() -> None:
        while len(seen) < 400:
            answer = await segmenter.segment(SliceRequest(dicom=dicom))
            seen.append((answer.model.version, answer.area_mm2))

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    for bundle in "baba":
        await models.swap(Path(bundle))
    await asyncio.gather(*asking)
    assert set(seen) == {("a", 900.0), ("b", 0.0)}  # and never one's mask under the other's name


async def test_after_two_swaps_nothing_of_the_first_model_is_left(bundles: Path) -> None:
    first = LOADER.load(load_bundle(bundles / "a"))
    left = [weakref.ref(part) for part in (first, first.engine, first.canary)]
    segmenter = Segmenter(first.engine, model=first.info.model, working_spacing_mm=1.5)
    models = Models(segmenter, ServerState(first.info), LOADER, first, bundles=bundles)
    del first
    await models.swap(Path("b"))
    assert all(part() is not None for part in left)
    await models.swap(Path("b"))
    assert [part() for part in left] == [None, None, None]
    await segmenter.close()
