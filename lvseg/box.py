"""The part of a slice where a mask is: a fiftieth of it as a rule, and work done there alone takes as little time."""

import numpy as np
from numpy.typing import NDArray

Box = tuple[slice, slice]
"""Rows and columns, as an index."""


def bounding_box(mask: NDArray[np.bool_]) -> Box | None:
    """Return the smallest box that holds every true pixel of a mask (rows, columns); ``None`` without any.

    Example:
        >>> bounding_box(np.array([[False, False, False], [False, True, True]]))
        (slice(1, 2, None), slice(1, 3, None))
    """
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[top:bottom].any(axis=0))
    return slice(top, bottom), slice(int(columns[0]), int(columns[-1]) + 1)
