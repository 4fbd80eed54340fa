"""The one step between a slice and a network: the working grid, and back."""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lvseg.box import Box, bounding_box
from lvseg.decision import THRESHOLD, ventricle


def working_shape(
    shape: Sequence[int], pixel_spacing: tuple[float, float], working_spacing_mm: float
) -> tuple[int, int]:
    """Return the (rows, columns) of a slice's working grid: the same extent in mm, to the nearest pixel."""
    if not (math.isfinite(working_spacing_mm) and working_spacing_mm > 0):
        raise ValueError(f"working spacing must be finite and above 0 mm, got {working_spacing_mm}")
    rows, columns = (
        max(1, round(length * spacing / working_spacing_mm))
        for length, spacing in zip(shape, pixel_spacing, strict=True)
    )
    return rows, columns


def to_working(
    pixels: NDArray[np.float32], pixel_spacing: tuple[float, float], working_spacing_mm: float
) -> NDArray[np.float32]:
    """Resample a slice to square pixels of the spacing that a model was trained at.

    Linear interpolation between pixel centres, with a Gaussian against aliasing along an axis that
    shrinks. A slice whose grid would keep its shape (within half a pixel over its whole length) is
    returned as it is.

    Args:
        pixels: Shape ``(rows, columns)``.
        pixel_spacing: ``(between rows, between columns)`` in mm.
        working_spacing_mm: Side of a pixel of the working grid in mm.

    Raises:
        ValueError: If the working spacing is not positive.
    """
    return from_working(pixels, working_shape(pixels.shape, pixel_spacing, working_spacing_mm))


def mask_from_working(probability: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Return a slice's mask (rows, columns): the :func:`ventricle` in a probability of the working grid.

    It is ``ventricle(from_working(probability, shape))``, and looks at no more of the slice than it takes.
    """
    mask = np.zeros(shape, dtype=np.bool_)
    # A mean of probabilities is above the threshold where one of them is; of equal ones it may be by rounding.
    box = bounding_box(probability >= THRESHOLD)
    if box is not None:
        window, part = _window_from_working(probability, shape, box)
        mask[window] = ventricle(part)
    return mask


def from_working(image: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Bring an image of the working grid, such as a probability, back to a slice's ``(rows, columns)``."""
    if image.shape == tuple(shape):
        return image
    rows, columns = shape
    down = _along(image.shape[0], rows).matrix @ image
    across: NDArray[np.float32] = _along(image.shape[1], columns).matrix @ down.T
    return np.ascontiguousarray(across.T)


def _window_from_working(
    image: NDArray[np.float32], shape: Sequence[int], box: Box
) -> tuple[Box, NDArray[np.float32]]:
    """Return the window of a slice that a box of the working grid reaches, and what is there of it."""
    rows, columns = (_along(*lengths) for lengths in zip(image.shape, shape, strict=True))
    window = rows.reached(box[0]), columns.reached(box[1])
    source = columns.sources(window[1])
    down = (rows.matrix @ image[:, source])[window[0]]
    # Cutting a sparse matrix takes longer than multiplying with zeros.
    beside = np.zeros((image.shape[1], len(down)), dtype=np.float32)
    beside[source] = down.T
    return window, np.ascontiguousarray((columns.matrix @ beside)[window[1]].T)


class _Axis(NamedTuple):
    """How one axis is resampled."""

    matrix: sparse.csr_array
    """Shape (new_length, length)."""
    first: NDArray[np.int64]
    """Of each new pixel, the first pixel that has a weight in it; they rise."""
    last: NDArray[np.int64]
    """The last one."""

    def reached(self, pixels: slice) -> slice:
        """Return the new pixels in which some pixels have a weight."""
        start, stop = np.searchsorted(self.last, pixels.start), np.searchsorted(self.first, pixels.stop)
        return slice(int(start), int(stop))

    def sources(self, new_pixels: slice) -> slice:
        """Return the pixels that have a weight in some new ones."""
        return slice(int(self.first[new_pixels.start]), int(self.last[new_pixels.stop - 1]) + 1)


@lru_cache(maxsize=32)
def _along(length: int, new_length: int) -> _Axis:
    """Return how one axis is resampled.

    It is what ``skimage.transform.resize`` does with ``order=1``, ``mode="edge"`` and ``anti_aliasing``, for a
    tenth of the time: the weights of a pair of grids are computed once, and most of them are zero.
    """
    centres = np.clip((np.arange(new_length) + 0.5) * length / new_length - 0.5, 0, length - 1)
    before = np.floor(centres).astype(np.int64)
    linear = np.stack([1 - (centres - before), centres - before], axis=1)  # (new_length, 2)
    reach, gaussian = _gaussian(max(0.0, (length / new_length - 1) / 2))
    taps = np.stack([before, before + 1], axis=1)[..., np.newaxis] + np.arange(-reach, reach + 1)
    weights = linear[..., np.newaxis] * gaussian  # (new_length, 2, 2 * reach + 1), as taps
    rows = np.broadcast_to(np.arange(new_length)[:, np.newaxis, np.newaxis], taps.shape)
    columns = np.clip(taps, 0, length - 1)  # the outermost pixels go on beyond the edge
    places = (rows.ravel(), columns.ravel())
    matrix = sparse.csr_array((weights.ravel().astype(np.float32), places), shape=(new_length, length))
    return _Axis(matrix, first=columns.min(axis=(1, 2)), last=columns.max(axis=(1, 2)))


def _gaussian(sigma: float) -> tuple[int, NDArray[np.float64]]:
    """Return how far a Gaussian reaches to either side, in pixels, and its weights, of which the sum is 1."""
    if sigma == 0:
        return 0, np.ones(1)
    reach = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return reach, weights / weights.sum()
