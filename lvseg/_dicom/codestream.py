"""What the codestreams of JPEG, JPEG-LS and JPEG 2000 have in common."""

from typing import NamedTuple

from lvseg._dicom.refusals import undecodable

MOST_SEGMENTS = 2**16
"""Marker segments of a codestream that are walked, 20 ms; a real one has about ten."""


class Stated(NamedTuple):
    """What a codestream says of its image."""

    rows: int
    columns: int
    samples: int
    precision: int
    """Bits that it holds per pixel."""
    too_short: bool = False
    """Whether its data are too few for an image of its size, whatever they are."""


class Segments:
    """Walks the marker segments of a codestream.

    Args:
        data: The codestream.
        position: Of the first marker.
    """

    def __init__(self, data: bytes, position: int) -> None:
        self.position = position
        self._data = data
        self._left = MOST_SEGMENTS

    def marker(self) -> int:
        """Return the second byte of the marker at the position, and move past any filling in front of it."""
        data, position = self._data, self.position
        while data[position : position + 2] == b"\xff\xff":
            position += 1
        if position + 2 > len(data) or data[position] != 0xFF:
            raise undecodable("the compressed image has no readable header")
        self.position = position
        return data[position + 1]

    def take(self) -> bytes:
        """Return what the segment at the position holds, and move past it."""
        self._left -= 1
        start = self.position + 4
        length = int.from_bytes(self._data[start - 2 : start], "big")
        end = start - 2 + length
        if length < 2 or end > len(self._data) or self._left < 0:
            raise undecodable("the compressed image has no readable header")
        self.position = end
        return self._data[start:end]
