import dataclasses
import shutil

import numpy as np
import pytest

from lvseg.errors import EngineError
from lvseg_export.bundle import REFERENCE, load_bundle
from lvseg_export.choice import load_engine
from lvseg_export.engines.base import Prediction
from lvseg_export.parity import Pair, Parity, compare_predictions, require_parity


def prediction(mask: list[int], probability: list[float]) -> Prediction:
    return Prediction(np.array([[mask]], np.uint8), np.array([[probability]], np.float32))


@dataclasses.dataclass(frozen=True)
class Someone:
    precision: str
    name: str = "some-engine"


AGREEING = Parity(
    slices=1,
    pixels=100_000,
    differing_pixels=0,
    largest_probability_difference=0.01,
    dice=1.0,
    lowest_dice=1.0,
    lowest_slice=0,
    apd_mm=None,
    area_difference_mm2=0.0,
)


def test_differences_are_counted_over_all_batches():
    expected = prediction([0, 0, 1, 1], [0.0, 0.25, 0.75, 1.0])
    other = prediction([0, 1, 1, 0], [0.0, 0.75, 0.75, 0.25])
    parity = compare_predictions([Pair(expected, expected), Pair(other, expected)], working_spacing_mm=2.0)
    assert (parity.slices, parity.pixels, parity.differing_pixels) == (2, 8, 2)
    assert parity.largest_probability_difference == 0.75
    assert parity.differing_share == 0.25


def test_dice_is_the_mean_over_the_slices_and_the_lowest_is_named():
    expected = prediction([0, 0, 1, 1], [0.0] * 4)
    half = prediction([0, 1, 1, 0], [0.0] * 4)  # one of two pixels in common
    parity = compare_predictions(
        [Pair(expected, expected, 4), Pair(half, expected, 7)], working_spacing_mm=1.0
    )
    assert (parity.dice, parity.lowest_dice, parity.lowest_slice) == (0.75, 0.5, 7)


def test_two_empty_masks_agree_and_have_no_outline_to_measure():
    empty = prediction([0, 0], [0.0, 0.0])
    parity = compare_predictions([Pair(empty, empty)], working_spacing_mm=1.0)
    assert (parity.dice, parity.apd_mm, parity.area_difference_mm2) == (1.0, None, 0.0)


def test_areas_are_in_square_millimetres():
    two, one = prediction([0, 1, 1], [0.0] * 3), prediction([0, 0, 1], [0.0] * 3)
    assert compare_predictions([Pair(two, one)], working_spacing_mm=1.5).area_difference_mm2 == 2.25


def test_outlines_a_pixel_apart_are_a_working_pixel_apart():
    mask = np.zeros((1, 60, 60), np.uint8)
    mask[0, 10:50, 10:50] = 1
    wider = np.zeros_like(mask)
    wider[0, 9:51, 9:51] = 1
    found, expected = (Prediction(one, one.astype(np.float32)) for one in (wider, mask))
    parity = compare_predictions([Pair(found, expected)], working_spacing_mm=2.0)
    assert parity.apd_mm == pytest.approx(2.0, abs=0.05)


def test_a_probability_that_is_not_a_number_is_the_largest_difference():
    expected = prediction([0, 1], [0.25, 0.75])
    parity = compare_predictions(
        [Pair(prediction([0, 1], [0.25, float("nan")]), expected)], working_spacing_mm=1.0
    )
    assert parity.largest_probability_difference == float("inf")


def test_masks_of_another_shape_are_refused():
    pair = Pair(prediction([0, 1], [0, 1]), prediction([0, 1, 1], [0, 1, 1]))
    with pytest.raises(EngineError, match=r"the mask has shape \(1, 1, 2\), expected \(1, 1, 3\)"):
        compare_predictions([pair], working_spacing_mm=1.0)


def test_a_probability_that_says_something_else_than_its_mask_counts():
    expected = prediction([0, 1, 1], [0.1, 0.9, 0.9])
    lying = prediction([0, 1, 1], [0.1, 0.0, 0.9])
    parity = compare_predictions([Pair(lying, expected)], working_spacing_mm=1.0)
    assert parity.differing_pixels == 1
    assert parity.dice == pytest.approx(2 / 3)


def test_probabilities_of_another_shape_are_refused():
    found = Prediction(np.zeros((1, 1, 2), np.uint8), np.zeros((1, 1, 1), np.float32))
    with pytest.raises(EngineError, match=r"the probability has shape \(1, 1, 1\), expected \(1, 1, 2\)"):
        compare_predictions([Pair(found, prediction([0, 1], [0, 1]))], working_spacing_mm=1.0)


def test_one_pixel_in_ten_thousand_may_differ_in_fp32():
    require_parity(dataclasses.replace(AGREEING, differing_pixels=10), Someone("fp32"), "phantoms")
    with pytest.raises(
        EngineError, match=r"some-engine \(fp32\) differs from the trained model on phantoms: 11 of 100000"
    ):
        require_parity(dataclasses.replace(AGREEING, differing_pixels=11), Someone("fp32"), "phantoms")


@pytest.mark.parametrize(
    ("precision", "allowed", "refused"),
    [("fp16", 0.9981, 0.9979), ("bf16", 0.9981, 0.9979), ("int8", 0.9901, 0.9899)],
)
def test_lower_precisions_are_held_to_a_dice(precision, allowed, refused):
    require_parity(dataclasses.replace(AGREEING, dice=allowed), Someone(precision), "phantoms")
    with pytest.raises(EngineError, match=rf"mean Dice is {refused}, expected at least .* on slice 3;"):
        require_parity(
            dataclasses.replace(AGREEING, dice=refused, lowest_slice=3), Someone(precision), "phantoms"
        )


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_probabilities_have_to_be_finite(precision):
    infinite = dataclasses.replace(AGREEING, largest_probability_difference=float("inf"))
    with pytest.raises(EngineError, match="a probability is not a finite number"):
        require_parity(infinite, Someone(precision), "phantoms")


def test_the_reference_holds_slices_on_which_the_model_was_run(bundle):
    with np.load(bundle / REFERENCE) as reference:
        slices, channels, rows, columns = reference["pixels"].shape
        assert (slices, channels) == (4, 1)
        assert reference["mask"].shape == reference["probability"].shape == (slices, rows, columns)


def test_an_engine_that_says_something_else_is_not_loaded(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    with np.load(copy / REFERENCE) as reference:
        arrays = dict(reference)
    arrays["mask"] = 1 - arrays["mask"]
    np.savez_compressed(copy / REFERENCE, **arrays)
    checked = dataclasses.replace(load_bundle(bundle), folder=copy)
    with pytest.raises(EngineError, match="differs from the trained model on"):
        load_engine(checked, "onnxruntime")
