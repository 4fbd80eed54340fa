"""Other scanners' grey scales: how the pixels of a training slice vary."""

from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from lvseg.data.augmentation import Augmentation

_KNOTS = 7
_SHADING_CELLS = 4
_LEVELS = 2**14  # four times those of a scanner of 12 bits, for spikes far above the rest
_WHITE = 0.999  # share of the pixels that are no spikes


@dataclass(frozen=True, eq=False)
class GreyLevels:
    """A slice whose pixels are numbers of grey levels, so that a scale is one table and not a power a pixel."""

    numbers: NDArray[np.uint16]
    """Shape (rows, columns)."""
    values: NDArray[np.float64]
    """Of each level: evenly from the slice's darkest pixel to its brightest."""
    white: float
    """The brightest value but for spikes, which would press all else into a corner of a curve."""

    @classmethod
    def of(cls, pixels: NDArray[np.float32]) -> Self:
        """Return the levels of a slice (rows, columns)."""
        darkest, brightest = float(pixels.min()), float(pixels.max())
        step = (brightest - darkest) / (_LEVELS - 1)
        numbers = np.rint((pixels - darkest) / step) if step > 0 else np.zeros(pixels.shape)
        return cls(
            numbers.astype(np.uint16),
            np.linspace(darkest, brightest, _LEVELS),
            float(np.quantile(pixels, _WHITE)),
        )


def vary_intensities(
    grey: GreyLevels, random: np.random.Generator, options: Augmentation
) -> NDArray[np.float32]:
    """Return a slice (rows, columns) as another scanner might have shown it, within its own range of values.

    A random exponent, a random monotone curve, and a smooth shading as a receiving coil gives it.
    """
    darkest, span = grey.values[0], grey.white - grey.values[0]
    if span <= 0:
        return grey.values.astype(np.float32)[grey.numbers]
    level = ((grey.values - darkest) / span) ** between(random, options.gamma)
    slopes = np.exp(random.normal(0.0, options.curve, _KNOTS - 1))
    curve = np.concatenate(([0.0], np.cumsum(slopes) / slopes.sum()))
    bent = np.interp(level, np.linspace(0.0, 1.0, _KNOTS), curve) + np.maximum(level - 1.0, 0.0)
    shape = grey.numbers.shape
    shading = np.exp(smooth_field(random, shape, cells=_SHADING_CELLS, deviation=options.shading))
    brightness = (span * bent).astype(np.float32)[grey.numbers]
    varied: NDArray[np.float32] = brightness * shading + np.float32(darkest)
    return varied


def between(random: np.random.Generator, limit: float) -> float:
    """Draw a factor between 1/limit and limit whose logarithm is even."""
    return float(np.exp(random.uniform(-np.log(limit), np.log(limit))))


def smooth_field(
    random: np.random.Generator, shape: tuple[int, ...], *, cells: int, deviation: float
) -> NDArray[np.float32]:
    """Draw a field (rows, columns) that is normal at ``cells`` x ``cells`` even places and smooth between them."""
    down, across = (_spline(length, cells) for length in shape)
    drawn = random.normal(0.0, deviation, (cells, cells)).astype(np.float32)
    return np.asarray(down @ drawn @ across.T, dtype=np.float32)


@cache
def _spline(length: int, cells: int) -> NDArray[np.float32]:
    """Return the weights (length, cells) of values at even places in a cubic spline through them."""
    places = np.linspace(0, length - 1, cells)
    weights: NDArray[np.float32] = make_interp_spline(places, np.eye(cells), k=3)(np.arange(length)).astype(
        np.float32
    )
    return weights
