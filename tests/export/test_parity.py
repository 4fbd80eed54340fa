import dataclasses
import shutil

import numpy as np
import pytest

from lvseg.errors import EngineError
from lvseg_export.bundle import REFERENCE, load_bundle
from lvseg_export.engines import load_engine
from lvseg_export.engines.base import Prediction
from lvseg_export.parity import Parity, check_reference, compare_predictions, require_parity


def prediction(mask: list[int], probability: list[float]) -> Prediction:
    return Prediction(np.array([[mask]], np.uint8), np.array([[probability]], np.float32))


class Fp32:
    name = "some-engine"
    precision = "fp32"


def test_differences_are_counted_over_all_batches():
    expected = prediction([0, 0, 1, 1], [0.0, 0.25, 0.75, 1.0])
    other = prediction([0, 1, 1, 0], [0.0, 0.75, 0.75, 0.25])
    parity = compare_predictions([(expected, expected), (other, expected)])
    assert parity == Parity(slices=2, pixels=8, differing_pixels=2, largest_probability_difference=0.75)
    assert parity.differing_share == 0.25


def test_a_probability_that_is_not_a_number_is_the_largest_difference():
    expected = prediction([0, 1], [0.25, 0.75])
    parity = compare_predictions([(prediction([0, 1], [0.25, float("nan")]), expected)])
    assert parity.largest_probability_difference == float("inf")


def test_masks_of_another_shape_are_refused():
    with pytest.raises(EngineError, match=r"the mask has shape \(1, 1, 2\), expected \(1, 1, 3\)"):
        compare_predictions([(prediction([0, 1], [0, 1]), prediction([0, 1, 1], [0, 1, 1]))])


@pytest.mark.parametrize(("differing", "allowed"), [(0, True), (10, True), (11, False)])
def test_one_pixel_in_ten_thousand_may_differ_in_fp32(differing, allowed):
    parity = Parity(slices=1, pixels=100_000, differing_pixels=differing, largest_probability_difference=0.01)
    if allowed:
        require_parity(parity, Fp32())
    else:
        with pytest.raises(
            EngineError, match=r"some-engine \(fp32\) differs from the trained model on 11 of 100000"
        ):
            require_parity(parity, Fp32())


def test_probabilities_have_to_be_finite():
    parity = Parity(slices=1, pixels=10, differing_pixels=0, largest_probability_difference=float("inf"))
    with pytest.raises(EngineError):
        require_parity(parity, Fp32())


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
        load_engine(checked)


def test_the_engine_that_was_exported_agrees_with_the_reference(bundle):
    loaded = load_bundle(bundle)
    parity = check_reference(load_engine(loaded, threads=1), loaded)
    assert (parity.slices, parity.differing_pixels) == (4, 0)
