import asyncio
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.transform import resize

from lvseg.errors import ContourError, DicomError, EngineError, OverloadError
from lvseg.plausibility import Flag
from lvseg_serve.answers import ContourForm, ModelIdentity, Output
from lvseg_serve.bits import encode_bits
from lvseg_serve.png import encode_mask
from lvseg_serve.reference import EncodedMask
from lvseg_serve.segmenter import Room, Segmenter
from lvseg_serve.stages import SliceRequest, prepare


@pytest.fixture
async def segmenter(make_segmenter, engine):
    with_threads = make_segmenter(engine)
    yield with_threads
    await with_threads.close()


async def test_the_mask_is_what_the_engine_finds(
    segmenter: Segmenter, dicom: bytes, ventricle: NDArray[np.bool_], model: ModelIdentity
) -> None:
    answer = await segmenter.segment(SliceRequest(dicom=dicom))
    np.testing.assert_array_equal(answer.mask, ventricle)
    assert (answer.rows, answer.columns, answer.frame) == (64, 72, 1)
    assert answer.pixel_spacing == (1.5, 1.5)
    assert answer.area_mm2 == 900.0
    assert answer.agreement is None
    assert answer.model == model


async def test_the_contour_runs_around_the_mask(segmenter: Segmenter, dicom: bytes) -> None:
    answer = await segmenter.segment(SliceRequest(dicom=dicom))
    assert answer.contour.min(axis=0).tolist() == [29.5, 19.5]
    assert answer.contour.max(axis=0).tolist() == [49.5, 39.5]


@pytest.mark.parametrize("output", Output)
async def test_what_is_not_asked_for_is_left_out(segmenter: Segmenter, dicom: bytes, output: Output) -> None:
    answer = await segmenter.segment(SliceRequest(dicom=dicom, outputs=frozenset({output})))
    assert (answer.mask is not None) == output.startswith("mask")
    assert (answer.contour is not None) == (output is Output.CONTOUR)
    assert (answer.boundaries is not None) == (output is Output.BOUNDARIES)
    assert (answer.probability is not None) == (output is Output.PROBABILITY)
    assert answer.area_mm2 == 900.0


async def test_a_contour_around_the_same_pixels_agrees_in_full(
    segmenter: Segmenter, dicom: bytes, contour: NDArray[np.float64]
) -> None:
    answer = await segmenter.segment(SliceRequest(dicom=dicom, contour=contour))
    assert answer.agreement.dice == 1.0
    assert answer.agreement.hausdorff_mm == 0.0
    assert answer.agreement.good


async def test_a_contour_that_lies_elsewhere_is_flagged(
    segmenter: Segmenter, dicom: bytes, contour: NDArray[np.float64]
) -> None:
    moved = contour + np.array((12.0, -8.0))  # pixels of 1.5 mm
    answer = await segmenter.segment(SliceRequest(dicom=dicom, contour=moved))
    assert answer.plausibility is not None
    assert answer.plausibility.flags == {Flag.OTHER_PLACE}
    assert answer.plausibility.offset_mm == pytest.approx((18.0, -12.0))


async def test_a_contour_is_judged_by_the_slice_as_it_was_sent(segmenter: Segmenter, make_dicom) -> None:
    # At 3 mm, twice the working spacing: a cavity of 12 x 12 pixels in a wall of 3.
    pixels = np.full((40, 48), 600)
    pixels[:4] = 0
    pixels[11:29, 15:33] = 300
    pixels[14:26, 18:30] = 1000
    outer = np.array([(14.5, 10.5), (32.5, 10.5), (32.5, 28.5), (14.5, 28.5)])
    find_blood = make_dicom(np.where(pixels == 600, 400, pixels), spacing=(3.0, 3.0))
    answer = await segmenter.segment(SliceRequest(dicom=find_blood, contour=outer))
    assert answer.plausibility is not None
    assert answer.plausibility.flags == {Flag.EPICARDIUM}


async def test_without_a_contour_nothing_is_judged_and_no_pixels_are_kept(
    segmenter: Segmenter, dicom: bytes
) -> None:
    answer = await segmenter.segment(SliceRequest(dicom=dicom))
    assert answer.plausibility is None
    assert prepare(SliceRequest(dicom=dicom), working_spacing_mm=1.5).compared is None


async def test_a_contour_may_come_as_text(segmenter: Segmenter, dicom: bytes) -> None:
    # Columns 40 to 49 of 30 to 49: 200 of 400 pixels, Dice 2 x 200 / 600.
    text = "39.5 19.5\n49.5 19.5\n49.5 39.5\n39.5 39.5\n"
    answer = await segmenter.segment(SliceRequest(dicom=dicom, contour=text))
    assert answer.agreement.dice == pytest.approx(2 / 3)


@pytest.mark.parametrize("form", [ContourForm.MASK_PNG, ContourForm.MASK_BITS])
async def test_a_contour_may_come_as_a_mask(
    segmenter: Segmenter, dicom: bytes, ventricle: NDArray[np.bool_], form: ContourForm
) -> None:
    # The right half of the ventricle, and Dice as above.
    half = ventricle & (np.arange(72) >= 40)
    encode = {ContourForm.MASK_PNG: encode_mask, ContourForm.MASK_BITS: encode_bits}[form]
    answer = await segmenter.segment(SliceRequest(dicom=dicom, contour=EncodedMask(form, encode(half))))
    assert answer.agreement.dice == pytest.approx(2 / 3)
    assert answer.contour_form is form


async def test_the_probability_is_on_the_slices_own_grid(
    segmenter: Segmenter, make_dicom: Callable[..., bytes], ventricle: NDArray[np.bool_]
) -> None:
    dicom = make_dicom(np.where(ventricle, 1000, 100), spacing=(0.75, 3.0))
    outputs = frozenset({Output.PROBABILITY, Output.MASK})
    answer = await segmenter.segment(SliceRequest(dicom=dicom, outputs=outputs))
    assert (answer.probability.shape, answer.probability.dtype) == ((64, 72), np.float32)
    np.testing.assert_array_equal(answer.mask, answer.probability > 0.5)


async def test_an_empty_mask_has_no_contour_and_no_distances(
    segmenter: Segmenter, make_dicom: Callable[..., bytes], contour: NDArray[np.float64]
) -> None:
    dark = make_dicom(np.full((64, 72), 100))
    answer = await segmenter.segment(SliceRequest(dicom=dark, contour=contour))
    assert not answer.mask.any()
    assert answer.contour is None
    assert answer.area_mm2 == 0.0
    assert (answer.agreement.dice, answer.agreement.apd_mm, answer.agreement.hausdorff_mm) == (
        0.0,
        None,
        None,
    )
    assert not answer.agreement.good


async def test_another_pixel_spacing_is_resampled_there_and_back(
    segmenter: Segmenter, engine, make_dicom: Callable[..., bytes], ventricle: NDArray[np.bool_]
) -> None:
    pixels = np.where(ventricle, 1000, 100)
    answer = await segmenter.segment(SliceRequest(dicom=make_dicom(pixels, spacing=(0.75, 3.0))))
    assert engine.shapes == [(1, 1, 32, 144)]  # 64 x 0.75 mm and 72 x 3 mm in pixels of 1.5 mm
    options = {"order": 1, "mode": "edge", "anti_aliasing": True, "preserve_range": True}
    seen = resize(pixels.astype(np.float32), (32, 144), **options) > 500
    np.testing.assert_array_equal(answer.mask, resize(seen.astype(np.float32), (64, 72), **options) > 0.5)
    assert answer.area_mm2 == np.count_nonzero(answer.mask) * 0.75 * 3.0


async def test_a_given_pixel_spacing_mends_a_file_without_one(
    segmenter: Segmenter, make_dicom: Callable[..., bytes], ventricle: NDArray[np.bool_]
) -> None:
    dicom = make_dicom(np.where(ventricle, 1000, 100), spacing=None)
    answer = await segmenter.segment(SliceRequest(dicom=dicom, pixel_spacing=(1.5, 1.5)))
    assert answer.area_mm2 == 900.0


async def test_a_chosen_frame_is_the_one_that_is_segmented(
    segmenter: Segmenter, make_dicom: Callable[..., bytes], ventricle: NDArray[np.bool_]
) -> None:
    frames = make_dicom(np.stack([np.full((64, 72), 100), np.where(ventricle, 1000, 100)]))
    answers = [await segmenter.segment(SliceRequest(dicom=frames, frame=frame)) for frame in (1, 2)]
    assert [(answer.frame, answer.area_mm2) for answer in answers] == [(1, 0.0), (2, 900.0)]


async def test_a_text_file_is_refused(segmenter: Segmenter) -> None:
    with pytest.raises(DicomError):
        await segmenter.segment(SliceRequest(dicom=b"hello"))


async def test_a_contour_outside_the_image_never_reaches_the_engine(
    segmenter: Segmenter, engine, dicom: bytes
) -> None:
    outside = np.array([(60.0, 10.0), (80.0, 10.0), (80.0, 30.0)])
    with pytest.raises(ContourError) as caught:
        await segmenter.segment(SliceRequest(dicom=dicom, contour=outside))
    assert caught.value.reason == "OUTSIDE_IMAGE"
    assert engine.shapes == []


async def test_a_working_grid_beyond_all_measure_never_reaches_the_engine(
    segmenter: Segmenter, engine, make_dicom: Callable[..., bytes]
) -> None:
    huge = make_dicom(np.zeros((64, 72)), spacing=None)
    with pytest.raises(DicomError) as caught:
        await segmenter.segment(SliceRequest(dicom=huge, pixel_spacing=(400.0, 400.0)))
    assert caught.value.field == "PixelSpacing"
    assert engine.shapes == []


async def test_the_stages_take_no_longer_than_the_whole(
    segmenter: Segmenter, dicom: bytes, contour: NDArray[np.float64]
) -> None:
    timings = (await segmenter.segment(SliceRequest(dicom=dicom, contour=contour))).timings
    stages = (
        timings.decode_ms,
        timings.resample_ms,
        timings.inference_ms,
        timings.postprocess_ms,
        timings.compare_ms,
    )
    assert all(stage > 0 for stage in stages)
    assert sum(stages) <= timings.total_ms


async def test_without_a_contour_no_time_goes_into_comparing(segmenter: Segmenter, dicom: bytes) -> None:
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).timings.compare_ms == 0


async def test_many_callers_reach_the_engine_one_at_a_time(
    segmenter: Segmenter, engine, dicom: bytes
) -> None:
    answers = await asyncio.gather(*(segmenter.segment(SliceRequest(dicom=dicom)) for _ in range(8)))
    assert [answer.area_mm2 for answer in answers] == [900.0] * 8
    assert sum(shape[0] for shape in engine.shapes) == 8


async def test_a_caller_that_leaves_the_queue_never_reaches_the_engine(
    make_segmenter, gated_engine, dicom: bytes
) -> None:
    segmenter = make_segmenter(gated_engine)
    first = asyncio.create_task(segmenter.segment(SliceRequest(dicom=dicom)))
    while not gated_engine.entered.is_set():
        await asyncio.sleep(0)
    second = asyncio.create_task(segmenter.segment(SliceRequest(dicom=dicom)))
    while segmenter.queued < 1:
        await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gated_engine.gate.set()
    assert (await first).area_mm2 == 900.0
    await segmenter.close()
    assert len(gated_engine.shapes) == 1


async def test_one_slice_too_many_is_refused_at_once_and_taken_when_there_is_room(
    make_segmenter, gated_engine, dicom: bytes
) -> None:
    segmenter = make_segmenter(gated_engine, room=Room(slices=1))
    first = asyncio.create_task(segmenter.segment(SliceRequest(dicom=dicom)))
    while not gated_engine.entered.is_set():
        await asyncio.sleep(0)
    with pytest.raises(OverloadError, match="1 slices are under way, the most that are taken") as refused:
        await segmenter.segment(SliceRequest(dicom=dicom))
    assert refused.value.retry_after_s > 0
    gated_engine.gate.set()
    await first
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).area_mm2 == 900.0
    await segmenter.close()
    assert len(gated_engine.shapes) == 2


@pytest.mark.parametrize("broken", [b"no DICOM", None])
async def test_a_place_is_free_again_after_a_failure_and_after_a_caller_that_leaves(
    make_segmenter, engine, dicom: bytes, broken: bytes | None
) -> None:
    segmenter = make_segmenter(engine, room=Room(slices=1))
    doomed = asyncio.create_task(segmenter.segment(SliceRequest(dicom=broken or dicom)))
    if broken is None:
        await asyncio.sleep(0)
        doomed.cancel()
    with pytest.raises(asyncio.CancelledError if broken is None else DicomError):
        await doomed
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).area_mm2 == 900.0
    await segmenter.close()


async def test_an_engine_that_answers_in_another_shape_is_an_engine_error(
    make_segmenter, engine, dicom: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = engine.run
    monkeypatch.setattr(engine, "run", lambda pixels: run(pixels[..., :-1]))
    segmenter = make_segmenter(engine)
    with pytest.raises(EngineError, match=r"\(1, 64, 71\), expected \(1, 64, 72\)"):
        await segmenter.segment(SliceRequest(dicom=dicom))
    await segmenter.close()


async def test_slices_on_the_working_grid_go_to_the_engine_as_they_are(segmenter: Segmenter, engine) -> None:
    pixels = np.full((3, 1, 40, 48), 100, dtype=np.float32)
    pixels[1, 0, 5:7, 8] = 1000
    prediction, _ = await segmenter.infer(pixels)
    np.testing.assert_array_equal(prediction.mask, pixels[:, 0] > 500)
    np.testing.assert_array_equal(prediction.probability, prediction.mask.astype(np.float32))
    assert engine.shapes == [(3, 1, 40, 48)]


async def test_slices_on_the_working_grid_take_one_place_and_give_it_back(
    make_segmenter, gated_engine, dicom: bytes
) -> None:
    segmenter = make_segmenter(gated_engine, room=Room(slices=1))
    pixels = np.zeros((2, 1, 40, 48), dtype=np.float32)
    first = asyncio.create_task(segmenter.infer(pixels))
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    with pytest.raises(OverloadError):
        await segmenter.infer(pixels)
    with pytest.raises(OverloadError):
        await segmenter.segment(SliceRequest(dicom=dicom))
    gated_engine.gate.set()
    await first
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).area_mm2 == 900.0
    await segmenter.close()


async def test_slices_on_the_working_grid_whose_caller_leaves_never_reach_the_engine(
    make_segmenter, gated_engine
) -> None:
    segmenter = make_segmenter(gated_engine)
    first = asyncio.create_task(segmenter.infer(np.zeros((1, 1, 40, 48), dtype=np.float32)))
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    second = asyncio.create_task(segmenter.infer(np.zeros((2, 1, 40, 48), dtype=np.float32)))
    await asyncio.sleep(0)  # it is in the queue now
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gated_engine.gate.set()
    await first
    await segmenter.close()
    assert gated_engine.shapes == [(1, 1, 40, 48)]


@pytest.mark.parametrize("spacing", [(0.19, 1.5), (1.5, 5.01), (1e-9, 1e-9), (1400.0, 1400.0)])
async def test_a_pixel_spacing_that_is_none_of_cardiac_mr_is_refused(
    segmenter: Segmenter, make_dicom, spacing: tuple[float, float]
) -> None:
    with pytest.raises(DicomError) as caught:
        await segmenter.segment(SliceRequest(dicom=make_dicom(np.zeros((4, 4), np.uint16), spacing)))
    assert caught.value.reason == "INVALID_PIXEL_SPACING"
    assert "0.2 to 5 mm" in caught.value.expected


@pytest.mark.parametrize("spacing", [(0.2, 0.2), (5.0, 5.0)])
async def test_the_finest_and_the_coarsest_pixel_spacing_are_taken(
    segmenter: Segmenter, make_dicom, spacing: tuple[float, float]
) -> None:
    dicom = make_dicom(np.zeros((64, 64), np.uint16), spacing)
    assert (await segmenter.segment(SliceRequest(dicom=dicom))).pixel_spacing == spacing
