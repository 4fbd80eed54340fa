"""Masks as PNG of one bit a pixel: how they travel and how they are written to disk."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def encode_mask(mask: NDArray[np.bool_]) -> bytes:
    """Return a mask of shape (rows, columns) as a PNG of one bit a pixel, white where it is true."""
    stream = io.BytesIO()
    Image.fromarray(mask).save(stream, format="PNG")
    return stream.getvalue()


def decode_mask(png: bytes) -> NDArray[np.bool_]:
    """Return the mask of shape (rows, columns) that :func:`encode_mask` wrote.

    Raises:
        ValueError: If the bytes are not a PNG of one bit a pixel.
    """
    try:
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            if image.mode != "1":
                raise ValueError(f"expected a PNG of one bit a pixel, got mode {image.mode}")
            return np.asarray(image, dtype=np.bool_)
    except OSError as error:
        raise ValueError(f"not a readable PNG: {error}") from error
