import dataclasses

import numpy as np
import pytest

from lvseg.data.augmentation import NO_AUGMENTATION
from lvseg.data.intensities import GreyLevels, between, smooth_field, vary_intensities

RAMP = np.linspace(100, 500, 128 * 128, dtype=np.float32).reshape(128, 128)


def vary(pixels: np.ndarray = RAMP, seed: int = 0, **change: float) -> np.ndarray:
    options = dataclasses.replace(NO_AUGMENTATION, **change)
    return vary_intensities(GreyLevels.of(pixels), np.random.default_rng(seed), options)


def test_without_variation_the_pixels_are_those_given():
    np.testing.assert_allclose(vary(), RAMP, rtol=1e-5)


@pytest.mark.parametrize("change", [{"gamma": 2.0}, {"curve": 0.5}])
def test_a_grey_scale_keeps_the_order_of_its_levels(change):
    for seed in range(5):
        varied = vary(seed=seed, **change).ravel()
        assert (np.diff(varied) > 0).all()
        assert not np.allclose(varied, RAMP.ravel(), rtol=0.01)


@pytest.mark.parametrize("change", [{"gamma": 2.0}, {"curve": 0.5}])
def test_a_grey_scale_keeps_its_ends(change):
    varied = vary(**change)
    assert (varied.min(), varied.max()) == pytest.approx((100, 500), rel=0.01)


def test_a_spike_does_not_press_the_rest_together():
    spiked = RAMP.copy()
    spiked[0, 0] = 1e5
    varied = vary(spiked, curve=0.5)
    assert np.ptp(varied.ravel()[1:]) > 300


def test_a_slice_with_more_levels_than_the_table_is_rounded_to_one_of_them():
    fine = np.linspace(100, 500, 9 * 16383 + 1, dtype=np.float32).reshape(2, -1)
    assert np.abs(vary(fine) - fine).max() <= 400 / 16383 / 2 + 1e-3


def test_shading_is_smooth_across_the_slice():
    shaded = vary(np.where(RAMP < 110, 0, 100).astype(np.float32), shading=0.5)[10:]
    assert np.abs(np.diff(shaded, axis=0)).max() < 0.1 * np.ptp(shaded)
    assert np.ptp(shaded) > 30


def test_a_constant_slice_stays_as_it_is():
    flat = np.full((8, 8), 7, np.float32)
    assert np.array_equal(vary(flat, gamma=2.0, curve=0.5, shading=0.5), flat)


def test_a_factor_and_its_inverse_are_drawn_alike():
    random = np.random.default_rng(0)
    drawn = np.log([between(random, 2.0) for _ in range(2000)])
    assert abs(drawn.mean()) < 0.05
    assert (drawn.min(), drawn.max()) == pytest.approx((-np.log(2), np.log(2)), abs=0.01)


def test_a_smooth_field_has_the_deviation_asked_for():
    corners = [
        smooth_field(np.random.default_rng(seed), (9, 9), cells=5, deviation=3.0)[0, 0] for seed in range(300)
    ]
    assert np.std(corners) == pytest.approx(3.0, rel=0.15)
