"""Maps of numbers as they travel: float32, little-endian, row by row."""

import numpy as np
from numpy.typing import NDArray


def encode_floats(values: NDArray[np.float32]) -> bytes:
    """Return a map of shape (rows, columns) as four bytes a pixel."""
    return values.astype("<f4").tobytes()


def decode_floats(content: bytes, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return the map of shape (rows, columns) that :func:`encode_floats` wrote.

    Raises:
        ValueError: If it is not as many bytes as such a map takes.
    """
    rows, columns = shape
    if len(content) != 4 * rows * columns:
        raise ValueError(
            f"expected {4 * rows * columns} bytes for {rows} x {columns} pixels, got {len(content)}"
        )
    return np.frombuffer(content, "<f4").astype(np.float32).reshape(shape)
