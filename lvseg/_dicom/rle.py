"""RLE Lossless (PS3.5, annex G): PackBits over the planes of bytes, the most significant first.

Decoded here: the plug-in pylibjpeg-rle 2.2 panics on damaged data, which no ``except Exception`` catches.
"""

import struct
from itertools import pairwise

import numpy as np


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
    planes = [_unpack(data[start:end], pixels) for start, end in pairwise(bounds)]
    return np.stack([np.frombuffer(plane, np.uint8) for plane in reversed(planes)], axis=1).tobytes()


def _unpack(segment: bytes, size: int) -> bytes:
    """Return the first ``size`` bytes of a PackBits segment; padding may follow them."""
    plane = bytearray()
    position = 0
    while len(plane) < size:
        if position >= len(segment):
            raise ValueError(f"a segment holds {len(plane)} bytes, expected {size}")
        control = segment[position]
        position += 1
        if control < 128:  # so many bytes, and one more, as they are
            plane += segment[position : position + control + 1]
            position += control + 1
        elif control > 128:  # one byte, repeated
            plane += segment[position : position + 1] * (257 - control)
            position += 1
    return bytes(plane[:size])
