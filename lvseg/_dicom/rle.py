"""RLE Lossless (PS3.5, annex G): PackBits over the planes of bytes, the most significant first.

The runs are Pillow's work, which takes 0.3 s for the 16 million shortest that a plane can have, and Python 5 s. Not
pylibjpeg-rle's: version 2.2 panics on damaged data, which no ``except Exception`` catches.
"""

import struct
from itertools import pairwise

import numpy as np
from PIL import Image

_LONGEST_RUN, _RUN_BYTES = 128, 2


def decode_rle(data: bytes, pixels: int, bytes_per_pixel: int) -> bytes:
    """Return ``pixels`` little-endian numbers of ``bytes_per_pixel`` each.

    Raises:
        ValueError: If ``data`` is not one frame of that size.
    """
    if len(data) < 64:
        raise ValueError("the header is cut off")
    count, *offsets = struct.unpack("<16I", data[:64])
    if count != bytes_per_pixel:
        raise ValueError(f"there are {count} segments, expected {bytes_per_pixel}")
    bounds = [*offsets[:count], len(data)]
    segments = [data[start:end] for start, end in pairwise(bounds)]
    for segment in segments:  # before anything of the size that the header asks for is allocated
        if len(segment) // _RUN_BYTES * _LONGEST_RUN < pixels:
            raise ValueError(f"a segment of {len(segment)} bytes cannot hold {pixels}")
    return np.stack([_unpack(segment, pixels) for segment in reversed(segments)], axis=1).tobytes()


def _unpack(segment: bytes, size: int) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Return the first ``size`` bytes of a PackBits segment; padding may follow them."""
    plane = Image.frombytes("L", (size, 1), segment, "packbits", "L")
    return np.frombuffer(plane.tobytes(), np.uint8)
