import dataclasses

import numpy as np
import pytest

from lvseg.data.augmentation import NO_AUGMENTATION
from lvseg.data.cavity import Cavity
from lvseg.data.muscles import paint_muscles

BLOOD, WALL = 900.0, 300.0
ROWS, COLUMNS = np.indices((120, 140))
FROM_CENTRE = np.hypot(ROWS - 60, COLUMNS - 50)


def circle(radius: float = 20.0) -> Cavity:
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    return Cavity.of(np.column_stack((50 + radius * np.cos(angle), 60 + radius * np.sin(angle))))


def heart(radius: float = 20.0) -> np.ndarray:
    return np.where(radius >= FROM_CENTRE, BLOOD, WALL).astype(np.float32)


def painted(seed: int = 0, radius: float = 20.0, muscles: int = 3, muscle_mm: float = 7.0) -> np.ndarray:
    options = dataclasses.replace(NO_AUGMENTATION, muscles=muscles, muscle_mm=muscle_mm)
    random = np.random.default_rng(seed)
    return paint_muscles(heart(radius), circle(radius), random, options, working_spacing_mm=1.0)


@pytest.mark.parametrize("seed", range(10))
def test_muscles_are_darker_than_blood_and_no_darker_than_the_wall(seed):
    change = painted(seed) - heart()
    assert change.min() < -0.3 * (BLOOD - WALL)
    assert change.max() <= 0
    assert painted(seed).min() >= WALL - 0.01


@pytest.mark.parametrize("seed", range(10))
def test_outside_the_cavity_nothing_changes(seed):
    outside = FROM_CENTRE > 20
    np.testing.assert_array_equal(painted(seed)[outside], heart()[outside])


@pytest.mark.parametrize("radius", [3.0, 8.0])
def test_a_small_cavity_keeps_some_of_its_blood(radius):
    for seed in range(10):
        cavity = painted(seed, radius, muscles=1)[radius > FROM_CENTRE]
        assert (cavity > WALL + 0.9 * (BLOOD - WALL)).mean() > 0.5


def test_larger_muscles_take_more_of_the_blood():
    small, large = (
        np.mean([(painted(seed, muscle_mm=size) < heart() - 1).sum() for seed in range(20)])
        for size in (3, 7)
    )
    assert large > 2 * small


def test_the_slice_given_stays_as_it_was():
    pixels = heart()
    options = dataclasses.replace(NO_AUGMENTATION)
    paint_muscles(pixels, circle(), np.random.default_rng(0), options, working_spacing_mm=1.0)
    np.testing.assert_array_equal(pixels, heart())


def test_a_cavity_that_fills_the_slice_has_no_wall_to_paint_from():
    pixels = np.full((12, 12), BLOOD, np.float32)
    random = np.random.default_rng(0)
    corners = np.array([[-9.0, -9.0], [21.0, -9.0], [21.0, 21.0], [-9.0, 21.0]])
    result = paint_muscles(pixels, Cavity.of(corners), random, NO_AUGMENTATION, working_spacing_mm=1.0)
    np.testing.assert_array_equal(result, pixels)
