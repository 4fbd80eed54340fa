import dataclasses

import numpy as np
import pytest

from lvseg.data.augmentation import NO_AUGMENTATION
from lvseg.data.cavity import Cavity, deform_cavity


def circle(radius: float = 20.0, centre: tuple[float, float] = (50.0, 60.0)) -> np.ndarray:
    """A circle of (x, y) points."""
    angle = np.linspace(0, 2 * np.pi, 90, endpoint=False)
    return np.column_stack((centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)))


def deformed(
    smallest: float, largest: float, radius: float = 20.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distance from the centre, before and after, of the pixels of a row through it, and their places."""
    options = dataclasses.replace(NO_AUGMENTATION, cavity_smallest=smallest, cavity_largest=largest)
    columns = np.arange(0.0, 101.0)[np.newaxis]
    rows = np.full_like(columns, 60.0)
    there = deform_cavity(
        (rows, columns),
        Cavity.of(circle(radius)),
        np.random.default_rng(0),
        options,
        working_spacing_mm=1.0,
    )
    return np.abs(columns - 50)[0], np.hypot(there[0] - 60, there[1] - 50)[0], *there


def test_a_cavitys_radii_are_those_of_its_contour():
    cavity = Cavity.of(circle())
    assert cavity.centre == pytest.approx((50, 60), abs=0.01)
    assert cavity.radius(np.linspace(-np.pi, np.pi, 20)) == pytest.approx(20, abs=0.1)


def test_a_cavity_that_is_wider_one_way_has_larger_radii_there():
    ellipse = (circle() - (50, 60)) * (1.0, 0.5) + (50, 60)
    radius = Cavity.of(ellipse).radius(np.array([0.0, np.pi / 2, np.pi, -np.pi / 2]))
    assert radius == pytest.approx((20, 10, 20, 10), abs=0.4)


def test_a_contour_of_three_points_has_radii_all_around():
    triangle = np.array([[40.0, 50.0], [60.0, 50.0], [50.0, 70.0]])
    assert (Cavity.of(triangle).radii > 3).all()


def test_a_smaller_cavity_is_taken_from_further_out():
    before, after, *_ = deformed(0.5, 0.5)
    # Blood that was at the edge of the cavity, 20 pixels out, lies 8 to 12 pixels out now: half, and a fifth uneven.
    new_edge = before[np.argmin(np.abs(after - 20))]
    assert 8 <= new_edge <= 12


def test_outside_the_wall_nothing_moves():
    before, after, *_ = deformed(0.4, 0.4)
    far = before > 20 + 11
    assert after[far] == pytest.approx(before[far])


def test_what_is_deformed_keeps_its_order_along_a_ray():
    for smallest, largest in ((0.3, 0.3), (1.2, 1.2), (2.0, 2.0)):
        _, after, *_ = deformed(smallest, largest)
        assert (np.diff(after[50:]) > 0).all()


def test_a_wider_cavity_leaves_half_of_its_wall():
    before, after, *_ = deformed(3.0, 3.0)
    in_new_wall = before[(after > 20) & (after < 20 + 7)]
    assert 20 < in_new_wall.min() < 20 + 11 / 2 + 1


def test_the_centre_of_the_cavity_stays():
    _, _, rows, columns = deformed(0.5, 0.5)
    assert (rows[0, 50], columns[0, 50]) == pytest.approx((60, 50))
