"""Masks as one bit a pixel, packed as DICOM packs them (PS3.5, 8.1.1): what a DICOM SEG holds of one frame."""

import numpy as np
from numpy.typing import NDArray


def encode_bits(mask: NDArray[np.bool_]) -> bytes:
    """Return a mask of shape (rows, columns) row by row: pixel i is bit i % 8 of byte i // 8, the lowest first.

    Rows are not padded; bits left over in the last byte are 0.

    Example:
        >>> encode_bits(np.array([[True, False, False], [False, True, True]])).hex()
        '31'
    """
    return np.packbits(mask, bitorder="little").tobytes()


def bits_length(shape: tuple[int, int]) -> int:
    """Return how many bytes a mask of shape (rows, columns) takes."""
    rows, columns = shape
    return (rows * columns + 7) // 8


def decode_bits(packed: bytes, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of shape (rows, columns) that :func:`encode_bits` wrote.

    Raises:
        ValueError: If it is not as many bytes as such a mask takes.
    """
    rows, columns = shape
    if len(packed) != bits_length(shape):
        raise ValueError(
            f"expected {bits_length(shape)} bytes for {rows} x {columns} pixels, got {len(packed)}"
        )
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=rows * columns, bitorder="little")
    return bits.reshape(shape).astype(np.bool_)
