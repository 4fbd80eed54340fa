"""Other hearts: a slice whose ventricle has a smaller or wider cavity inside the same outer wall.

A failing ventricle with a wide cavity becomes a hypertrophic one with a narrow cavity and a thick wall,
which few data sets hold many of.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvseg.contour import Points
from lvseg.data.augmentation import Augmentation

_SECTORS = 72
_WALL_MM = (7.0, 11.0)  # the left ventricle's, of a heart that is neither thin nor thick
_LEAST_WALL_PIXELS = 4.0
_THINNEST_WALL = 0.5  # of what it was
_UNEVEN = 0.2  # of the change of radius, from one side of the cavity to the other

Places = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Cavity:
    """A contour as radii around its centre."""

    centre: Points
    """(x, y) in pixels."""
    radii: NDArray[np.float64]
    """Pixels, in sectors of even angle from -pi on."""

    @classmethod
    def of(cls, contour: Points) -> "Cavity":
        """Return the radii of a contour; where it folds back, its outermost."""
        steps = np.linspace(0.0, 1.0, 8, endpoint=False)[:, np.newaxis, np.newaxis]
        sides = np.roll(contour, -1, axis=0) - contour
        points = (contour + steps * sides).reshape(-1, 2)
        centre = points.mean(axis=0)
        x, y = (points - centre).T
        sectors = np.floor((np.arctan2(y, x) + np.pi) / (2 * np.pi) * _SECTORS).astype(int) % _SECTORS
        radii = np.zeros(_SECTORS)
        np.maximum.at(radii, sectors, np.hypot(x, y))
        hit = np.flatnonzero(radii)
        radii = np.interp(np.arange(_SECTORS), hit, radii[hit], period=_SECTORS)
        return cls(centre, (np.roll(radii, 1) + 2 * radii + np.roll(radii, -1)) / 4)

    def radius(self, angle: Places) -> Places:
        """Return the radius at angles from -pi to pi."""
        middles = (np.arange(_SECTORS) + 0.5) / _SECTORS * 2 * np.pi - np.pi
        radius: Places = np.interp(angle, middles, self.radii, period=2 * np.pi)
        return radius


def deform_cavity(
    places: tuple[Places, Places],
    cavity: Cavity,
    random: np.random.Generator,
    options: Augmentation,
    *,
    working_spacing_mm: float,
) -> tuple[Places, Places]:
    """Return where in the slice the pixels of a window with another cavity are to be taken from.

    Along each ray from the cavity's centre the blood is pressed together or stretched to its new radius,
    the wall the other way, and what lies outside the wall stays.

    Args:
        places: Rows and columns of the slice at which the window's pixels lie.
        cavity: As it is.
        random: What draws its new radius.
        options: ``cavity_smallest`` and ``cavity_largest`` are used.
        working_spacing_mm: Side of a pixel.
    """
    scale = random.uniform(options.cavity_smallest, options.cavity_largest)
    uneven, towards = random.uniform(0.0, _UNEVEN), random.uniform(-np.pi, np.pi)
    wall = max(_LEAST_WALL_PIXELS, random.uniform(*_WALL_MM) / working_spacing_mm)
    down, right = places[0] - cavity.centre[1], places[1] - cavity.centre[0]
    distance, angle = np.hypot(right, down), np.arctan2(down, right)
    inner = cavity.radius(angle)
    outer = inner + wall
    widest = inner + (1.0 - _THINNEST_WALL) * wall
    new_inner = np.minimum(inner * scale * (1.0 + uneven * np.cos(angle - towards)), widest)
    in_wall = inner + (distance - new_inner) * (outer - inner) / (outer - new_inner)
    source = np.where(distance <= new_inner, distance * inner / new_inner, in_wall)
    factor = np.where(distance < outer, source / np.maximum(distance, 1e-9), 1.0)
    return cavity.centre[1] + down * factor, cavity.centre[0] + right * factor
