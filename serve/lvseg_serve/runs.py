"""Masks as lengths of runs: small, and simple to read in any language."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def encode_runs(mask: NDArray[np.bool_]) -> list[int]:
    """Return the lengths of a mask's runs of equal pixels, row by row and on over the end of a row.

    The first run is of background, of length 0 if the first pixel is inside; the next is inside, and so on.

    Args:
        mask: Shape (rows, columns), of at least one pixel.

    Example:
        >>> encode_runs(np.array([[False, True], [True, False]]))
        [1, 2, 1]
    """
    pixels = mask.ravel()
    changes = np.flatnonzero(pixels[1:] != pixels[:-1]) + 1
    lengths: list[int] = np.diff(changes, prepend=0, append=pixels.size).tolist()
    return [0, *lengths] if pixels[0] else lengths


def decode_runs(runs: Sequence[int], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of shape (rows, columns) that :func:`encode_runs` wrote.

    Raises:
        ValueError: If the runs do not add up to the mask's pixels.
    """
    rows, columns = shape
    lengths = np.asarray(runs, dtype=np.int64)
    if lengths.sum() != rows * columns or (lengths < 0).any():
        raise ValueError(f"expected runs of {rows * columns} pixels in all, got {lengths.sum()}")
    inside = np.arange(len(lengths)) % 2 == 1
    return np.repeat(inside, lengths).reshape(shape)
