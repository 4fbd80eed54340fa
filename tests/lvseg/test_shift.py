"""The shift of a series: mean, standard error and verdict."""

import numpy as np
import pytest

from lvseg.shift import ShiftMeter, systematic_shift


def test_the_mean_and_its_standard_error_are_those_of_each_axis() -> None:
    shift = systematic_shift([(1.0, 4.0), (3.0, 4.0)])
    assert shift is not None
    assert shift.slices == 2
    assert shift.mean_mm == (2.0, 4.0)
    # x: a standard deviation of sqrt(2), over the root of two slices
    assert shift.standard_error_mm == pytest.approx((1.0, 0.0))


def test_contours_that_all_lie_off_in_one_direction_are_shifted() -> None:
    shift = systematic_shift([(2.0, 0.0), (2.5, 0.5), (1.5, -0.5), (2.0, 0.0), (2.0, 0.0)])
    assert shift is not None
    assert shift.systematic


def test_contours_that_lie_off_in_all_directions_are_not_shifted() -> None:
    shift = systematic_shift([(5.0, 0.0), (-5.0, 0.0), (0.0, 5.0), (0.0, -5.0), (1.0, 1.0)])
    assert shift is not None
    assert not shift.systematic


def test_a_mean_within_its_standard_error_is_no_shift() -> None:
    # Mean 2 mm, standard error of x 4 / sqrt(5) = 1.8 mm: about one of them.
    shift = systematic_shift([(6.0, 0.0), (6.0, 0.0), (2.0, 0.0), (-2.0, 0.0), (-2.0, 0.0)])
    assert shift is not None
    assert shift.length_mm == 2.0
    assert not shift.systematic


@pytest.mark.parametrize(("mm", "systematic"), [(1.4, False), (1.6, True)])
def test_what_is_less_than_a_pixel_is_no_shift_however_sure(mm: float, systematic: bool) -> None:
    shift = systematic_shift([(0.0, -mm)] * 10)
    assert shift is not None
    assert shift.systematic is systematic


@pytest.mark.parametrize(("slices", "systematic"), [(4, False), (5, True)])
def test_a_few_slices_are_not_enough(slices: int, systematic: bool) -> None:
    shift = systematic_shift([(3.0, 0.0)] * slices)
    assert shift is not None
    assert shift.systematic is systematic


@pytest.mark.parametrize("degrees", [30, 45, 200])
def test_the_verdict_is_the_same_in_every_direction(degrees: float) -> None:
    angle = np.radians(degrees)
    turn = np.array([(np.cos(angle), -np.sin(angle)), (np.sin(angle), np.cos(angle))])
    offsets = np.array([(2.0, 1.0), (3.0, -1.0), (1.0, 0.0), (2.5, 0.5), (1.5, -0.5), (2.0, 0.0)])
    straight, turned = systematic_shift(offsets.tolist()), systematic_shift((offsets @ turn.T).tolist())
    assert straight is not None
    assert turned is not None
    assert turned.length_mm == pytest.approx(straight.length_mm)
    assert np.hypot(*turned.standard_error_mm) == pytest.approx(np.hypot(*straight.standard_error_mm))


@pytest.mark.parametrize("slices", [0, 1])
def test_without_two_slices_there_is_no_shift_to_tell(slices: int) -> None:
    assert systematic_shift([(3.0, 0.0)] * slices) is None


def test_a_meter_says_at_any_time_what_numpy_says_of_all_so_far() -> None:
    offsets = np.random.default_rng(0).normal((1e6, -3.0), (2.0, 0.5), size=(200, 2))
    meter = ShiftMeter()
    for count, offset in enumerate(offsets.tolist(), start=1):
        meter.add(tuple(offset))
        if count in (2, 17, 200):
            shift, so_far = meter.shift(), offsets[:count]
            assert shift is not None
            np.testing.assert_allclose(shift.mean_mm, so_far.mean(axis=0), rtol=1e-12)
            np.testing.assert_allclose(
                shift.standard_error_mm, so_far.std(axis=0, ddof=1) / np.sqrt(count), rtol=1e-6
            )


@pytest.mark.parametrize("offset_mm", [(np.nan, 0.0), (0.0, np.inf)])
def test_an_offset_that_is_no_length_is_refused(offset_mm: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        systematic_shift([offset_mm])
