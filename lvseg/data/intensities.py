"""Other scanners' grey scales: how the pixels of a training slice vary."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from lvseg.data.augmentation import Augmentation

_KNOTS = 7
_SHADING_CELLS = 4
_BRIGHTEST = 0.999  # beyond it lie spikes, which would press all else into a corner of the curve


def vary_intensities(
    pixels: NDArray[np.float32], random: np.random.Generator, options: Augmentation
) -> NDArray[np.float32]:
    """Return a slice (rows, columns) as another scanner might have shown it, within its own range of values.

    A random exponent, a random monotone curve, and a smooth shading as a receiving coil gives it.
    """
    darkest, brightest = float(pixels.min()), float(np.quantile(pixels, _BRIGHTEST))
    if brightest <= darkest:
        return pixels
    level = ((pixels - darkest) / (brightest - darkest)) ** between(random, options.gamma)
    slopes = np.exp(random.normal(0.0, options.curve, _KNOTS - 1))
    curve = np.concatenate(([0.0], np.cumsum(slopes) / slopes.sum()))
    bent = np.interp(level, np.linspace(0.0, 1.0, _KNOTS), curve) + np.maximum(level - 1.0, 0.0)
    shaded = bent * np.exp(
        smooth_field(random, pixels.shape, cells=_SHADING_CELLS, deviation=options.shading)
    )
    varied: NDArray[np.float32] = (darkest + shaded * (brightest - darkest)).astype(np.float32)
    return varied


def between(random: np.random.Generator, limit: float) -> float:
    """Draw a factor between 1/limit and limit whose logarithm is even."""
    return float(np.exp(random.uniform(-np.log(limit), np.log(limit))))


def smooth_field(
    random: np.random.Generator, shape: tuple[int, ...], *, cells: int, deviation: float
) -> NDArray[np.float64]:
    """Draw a field (rows, columns) that is normal at ``cells`` x ``cells`` even places and smooth between them."""
    down, across = (_spline(length, cells) for length in shape)
    field: NDArray[np.float64] = down @ random.normal(0.0, deviation, (cells, cells)) @ across.T
    return field


@cache
def _spline(length: int, cells: int) -> NDArray[np.float64]:
    """Return the weights (length, cells) of values at even places in a cubic spline through them."""
    places = np.linspace(0, length - 1, cells)
    weights: NDArray[np.float64] = make_interp_spline(places, np.eye(cells), k=3)(np.arange(length))
    return weights
