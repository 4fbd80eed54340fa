"""The one step between a slice and a network: the working grid, and back."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.transform import resize

from lvseg.decision import ventricle


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
    """Return a slice's mask (rows, columns): the :func:`ventricle` in a probability of the working grid."""
    return ventricle(from_working(probability, shape))


def from_working(image: NDArray[np.float32], shape: Sequence[int]) -> NDArray[np.float32]:
    """Bring an image of the working grid, such as a probability, back to a slice's ``(rows, columns)``."""
    if image.shape == tuple(shape):
        return image
    resized: NDArray[np.float32] = resize(
        image, tuple(shape), order=1, mode="edge", anti_aliasing=True, preserve_range=True
    ).astype(np.float32, copy=False)
    return resized
