"""Swaps of the model, with bundles on ONNX Runtime, under a segmenter that is asked all the time."""

import asyncio
import shutil
import weakref
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from lvseg.errors import BundleError, EngineError, InputError, OptionError
from lvseg_export.bundle import Bundle, load_bundle
from lvseg_serve.events import SwapFailed
from lvseg_serve.models import LoadedModel, ModelLoader, Models
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.stages import SliceRequest
from lvseg_serve.state import ServerState
from tests.serve.loading import LOADER

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


async def test_a_slice_is_answered_by_the_model_that_it_began_with(
    gated_engine, first: LoadedModel, bundles: Path, dicom: bytes
) -> None:
    held = replace(first, engine=gated_engine)
    segmenter = Segmenter(gated_engine, model=held.info.model, working_spacing_mm=1.5)
    models = Models(segmenter, ServerState(held.info), LOADER, held, bundles=bundles)
    slice_ = asyncio.create_task(segmenter.segment(SliceRequest(dicom=dicom)))
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    swapping = asyncio.create_task(models.swap(Path("b")))
    while models.former is None:
        await asyncio.sleep(0.001)
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).model.version == "b"
    assert not swapping.done()
    gated_engine.gate.set()
    await swapping
    assert ((await slice_).model.version, (await slice_).area_mm2) == ("a", 900.0)
    await segmenter.close()


async def test_the_way_back_waits_for_the_former_engine_though_whoever_swapped_has_left(
    gated_engine, first: LoadedModel, bundles: Path, dicom: bytes
) -> None:
    held = replace(first, engine=gated_engine)
    segmenter = Segmenter(gated_engine, model=held.info.model, working_spacing_mm=1.5)
    models = Models(segmenter, ServerState(held.info), LOADER, held, bundles=bundles)
    slice_ = asyncio.create_task(segmenter.segment(SliceRequest(dicom=dicom)))
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    swapping = asyncio.create_task(models.swap(Path("b")))
    while models.former is None:
        await asyncio.sleep(0.001)
    swapping.cancel()
    await asyncio.wait([swapping])
    way_back = asyncio.create_task(models.roll_back())
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).model.version == "b"
    assert models.current is not held
    gated_engine.gate.set()
    await way_back
    assert models.current is held
    assert (await slice_).model.version == "a"
    await segmenter.close()


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
