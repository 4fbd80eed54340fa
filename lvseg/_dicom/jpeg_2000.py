"""What a JPEG 2000 codestream states, from its markers alone (ITU-T T.800, annex A).

OpenJPEG allocates by what a codestream states, before it looks for the data: 100 bytes can name 65,000 tiles, or
precincts of one pixel, and take gigabytes. So what they ask for is counted first, in the main header and in that of
each tile-part. Markers of other parts of the standard are refused: a decoder that skips them otherwise would read
another codestream than was checked.
"""

import struct
from typing import NamedTuple

from lvseg._dicom.codestream import Segments, Stated
from lvseg._dicom.refusals import truncated, undecodable

_START = b"\xff\x4f\xff\x51"
"""Of a codestream and of its first segment, *image and tile size*."""
_TILE_PART, _DATA, _END = 0x90, 0x93, 0xD9
_CODING, _COMPONENT_CODING = 0x52, 0x53
_OTHERS = frozenset({0x55, 0x57, 0x58, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61, 0x63, 0x64})
"""Lengths of tile-parts and packets, quantisation, region of interest, progression, packed headers, comment."""

_MOST_TILES = 2**10
"""128 x 128 pixels each in the largest slice."""
_MOST_TILE_PARTS = 2**14
_MOST_PARTS = 2**18
"""Precincts, code blocks, and packets (precincts times layers) of all tiles; each takes some 200 bytes. The largest
slice has 9,000 code blocks by the usual parameters."""


class _Size(NamedTuple):
    stated: Stated
    tiles: int
    tile_rows: int
    tile_columns: int


def find_codestream(data: bytes) -> bytes:
    """Return the codestream without what stands in front of it: some writers leave a JP2 header there.

    Raises:
        DicomError: ``UNDECODABLE`` if there is none.
    """
    start = data.find(_START, 0, 1024)
    if start < 0:
        raise undecodable("the compressed image has no readable header")
    return data[start:]


def read_jpeg_2000(data: bytes) -> Stated:
    """Return what the codestream states.

    Raises:
        DicomError: ``UNDECODABLE`` if it is malformed, or asks for more parts than any slice has;
            ``TRUNCATED_PIXEL_DATA`` if a tile-part is cut off.
    """
    segments = Segments(data, 2)
    size = _read_size(segments.take())
    _read_header(segments, size, until=_TILE_PART)
    for _ in range(_MOST_TILE_PARTS):
        start = segments.position
        content = segments.take()
        length = int.from_bytes(content[2:6], "big")
        _read_header(segments, size, until=_DATA)
        if length == 0:  # the last one: up to the end
            return size.stated
        if start + length < segments.position + 2:
            raise undecodable("a tile-part of the compressed image is malformed")
        segments.position = start + length
        if segments.position >= len(data):
            raise truncated("a tile-part of the compressed image is cut off")
        marker = segments.marker()
        if marker == _END:
            return size.stated
        if marker != _TILE_PART:
            raise undecodable("a tile-part of the compressed image is malformed")
    raise undecodable(f"the compressed image has more than {_MOST_TILE_PARTS} tile-parts")


def _read_size(content: bytes) -> _Size:
    """Read the segment *image and tile size* (A.5.1) of an image of one component."""
    if len(content) < 39:
        raise undecodable("the compressed image has no readable header")
    right, bottom, left, top, *tile = struct.unpack(">8I", content[2:34])
    samples, depth, across, down = struct.unpack(">HBBB", content[34:39])
    stated = Stated(bottom - top, right - left, samples, (depth & 0x7F) + 1)
    if samples == 1 and (across, down) != (1, 1):
        raise undecodable("the compressed image is subsampled")
    tile_columns, tile_rows, tile_left, tile_top = tile
    if not (tile_left <= left < tile_left + tile_columns and tile_top <= top < tile_top + tile_rows):
        raise undecodable("the tiles of the compressed image are malformed")
    tiles = -(-(right - tile_left) // tile_columns) * -(-(bottom - tile_top) // tile_rows)
    if tiles > _MOST_TILES:
        raise undecodable(f"the compressed image has {tiles} tiles, expected at most {_MOST_TILES}")
    return _Size(stated, tiles, min(tile_rows, stated.rows), min(tile_columns, stated.columns))


def _read_header(segments: Segments, size: _Size, *, until: int) -> None:
    """Move to the marker ``until``, and hold every coding that is stated on the way to what it asks for."""
    layers = 1
    while (marker := segments.marker()) != until:
        content = segments.take()
        if marker == _CODING:
            if len(content) < 10:
                raise undecodable("the coding of the compressed image is malformed")
            layers = int.from_bytes(content[2:4], "big")
            _check_coding(content[0], content[5:], size, layers)
        elif marker == _COMPONENT_CODING:
            if len(content) < 7:
                raise undecodable("the coding of the compressed image is malformed")
            _check_coding(content[1], content[2:], size, layers)
        elif marker not in _OTHERS:
            raise undecodable("the compressed image has parts that no JPEG 2000 of DICOM's has")


def _check_coding(style: int, content: bytes, size: _Size, layers: int) -> None:
    """Count what a coding asks for: precincts, packets and code blocks, in the pieces of all resolutions (B.6, B.7)."""
    levels, block_width, block_height = content[0], (content[1] & 15) + 2, (content[2] & 15) + 2
    custom = content[5:] if style & 1 else b"\xff" * (levels + 1)
    if levels > 32 or block_width + block_height > 12 or len(custom) < levels + 1:
        raise undecodable("the coding of the compressed image is malformed")
    precincts = blocks = 0
    for resolution in range(levels + 1):
        shrunk = levels - resolution
        columns, rows = _pieces(size.tile_columns, shrunk), _pieces(size.tile_rows, shrunk)
        wide, high = custom[resolution] & 15, custom[resolution] >> 4
        precincts += _pieces(columns, wide) * _pieces(rows, high)
        halved = min(resolution, 1)  # the three bands of a resolution but the lowest have half its sides
        band = (_pieces(columns, halved), _pieces(rows, halved))
        if min(wide, high) < halved:
            raise undecodable("the coding of the compressed image is malformed")
        in_band = _pieces(band[0], min(block_width, wide - halved)) * _pieces(
            band[1], min(block_height, high - halved)
        )
        blocks += (1 + 2 * halved) * in_band
    if size.tiles * max(precincts * max(1, layers), blocks) > _MOST_PARTS:
        raise undecodable(f"the compressed image has more than {_MOST_PARTS} parts")


def _pieces(length: int, exponent: int) -> int:
    """Return how many pieces of 2 ** ``exponent`` a length has, the last one cut."""
    return -(-length >> exponent)
