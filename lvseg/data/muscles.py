"""Papillary muscles: dark parts of the cavity that stand from its wall, and that the expert's contour encloses.

A network that has seen few of them cuts them out of its mask.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lvseg.data.augmentation import Augmentation
from lvseg.data.cavity import Cavity, Places

_WALL_PIXELS = (1.0, 4.0)  # beyond the contour: no blood any more, and wall still, be it thin
_FROM_CENTRE = (0.55, 1.0)  # of the cavity's radius
_SMALLEST = 0.25  # of the largest half axis
_NARROW = 0.45  # of the cavity's radius: a half axis is no larger
_FAINTEST = 0.5  # of the way from blood to wall
_EDGE_PIXELS = 0.8


def paint_muscles(
    pixels: NDArray[np.float32],
    cavity: Cavity,
    random: np.random.Generator,
    options: Augmentation,
    *,
    working_spacing_mm: float,
) -> NDArray[np.float32]:
    """Return a slice with ellipses in its cavity that are as dark as its wall.

    Args:
        pixels: Shape ``(rows, columns)``, of the working grid.
        cavity: Its cavity on that grid.
        random: What draws how many, where and how large.
        options: ``muscles`` and ``muscle_mm`` are used.
        working_spacing_mm: Side of a pixel.
    """
    around = _window(cavity, pixels.shape)
    rows, columns = np.mgrid[around]
    right, down = columns - cavity.centre[0], rows - cavity.centre[1]
    beyond = np.hypot(right, down) - cavity.radius(np.arctan2(down, right))
    wall = (beyond > _WALL_PIXELS[0]) & (beyond < _WALL_PIXELS[1])
    if not wall.any():
        return pixels
    muscles = np.zeros(beyond.shape)
    for _ in range(random.integers(1, options.muscles + 1)):
        muscles = np.maximum(
            muscles, _muscle(right, down, cavity, random, options.muscle_mm / working_spacing_mm)
        )
    muscles = gaussian_filter(muscles, _EDGE_PIXELS) * (beyond < 0)
    painted = pixels.copy()
    blood = painted[around]
    blood += muscles * np.minimum(float(np.median(blood[wall])) - blood, 0)
    return painted


def _muscle(
    right: Places, down: Places, cavity: Cavity, random: np.random.Generator, largest: float
) -> NDArray[np.float64]:
    """Draw an ellipse: how much of each pixel, at places from the cavity's centre, is muscle."""
    towards, turn = random.uniform(-np.pi, np.pi, 2)
    distance = random.uniform(*_FROM_CENTRE) * cavity.radius(np.array(towards))
    x, y = right - distance * np.cos(towards), down - distance * np.sin(towards)
    narrow = _NARROW * cavity.radii.mean()
    half_axes = np.minimum(random.uniform(_SMALLEST, 1.0, 2) * largest, narrow)
    along, across = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    inside = np.hypot(along / half_axes[0], across / half_axes[1]) < 1
    return np.where(inside, random.uniform(_FAINTEST, 1.0), 0.0)


def _window(cavity: Cavity, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns of a slice that hold the cavity and its wall."""
    reach = cavity.radii.max() + _WALL_PIXELS[1]
    low = np.maximum(np.floor(cavity.centre[::-1] - reach), 0).astype(int)
    high = np.minimum(np.ceil(cavity.centre[::-1] + reach) + 1, shape).astype(int)
    return slice(low[0], high[0]), slice(low[1], high[1])
