"""Find and decode one compressed frame.

The decoders of JPEG are the pylibjpeg plug-ins, called directly: pydicom would try whatever is installed
and log each failure with its stack. They are C and C++ code that trusts the sizes in a codestream, so
those are compared with the header first, and what else makes them ask for memory is refused.
"""

import importlib
import struct
from typing import BinaryIO, NamedTuple

import numpy as np
from pydicom.uid import JPEG2000TransferSyntaxes, RLELossless

from lvseg._dicom.file import DECODERS, Header
from lvseg._dicom.image import PixelFormat
from lvseg._dicom.jpeg import read_jpeg
from lvseg._dicom.jpeg_2000 import find_codestream, read_jpeg_2000
from lvseg._dicom.refusals import empty, truncated, undecodable
from lvseg._dicom.rle import decode_rle
from lvseg.errors import DicomError

_ITEM, _SEQUENCE_DELIMITER = 0xE000FFFE, 0xE0DDFFFE  # as little-endian words
_END_OF_IMAGE, _PADDING = b"\xff\xd9", b"\x00\xff"
_MOST_FRAGMENTS = 2**16
"""Of all frames; a cine has one a frame, and each takes memory here."""
_MOST_EXPANSION, _SMALL_FRAME_BYTES = 1000, 2**20
"""Lossless halves an image, lossy takes a fiftieth; what is small may be blank."""


class DecodedFrame(NamedTuple):
    """Pixels as little-endian unsigned numbers, row by row."""

    data: bytes
    bytes_per_pixel: int
    precision: int
    """Bits that the codestream says it holds per pixel."""


class _Fragment(NamedTuple):
    offset: int
    """Of its item, from the end of the offset table: what offset tables count."""
    position: int
    length: int


def read_compressed(
    stream: BinaryIO, size: int, header: Header, pixel_format: PixelFormat, frame: int
) -> DecodedFrame:
    """Read and decode one frame (from 1).

    Raises:
        DicomError: ``TRUNCATED_PIXEL_DATA``, ``NO_PIXEL_DATA``, ``UNDECODABLE`` or ``MISSING_DECODER``.
    """
    data = _read_frame(stream, size, header, pixel_format, frame)
    pixels = pixel_format.rows * pixel_format.columns
    if header.transfer_syntax == RLELossless:
        width = pixel_format.bits_allocated // 8
        return DecodedFrame(_decode_rle(data, pixels, width), width, pixel_format.bits_stored)
    if header.transfer_syntax in JPEG2000TransferSyntaxes:
        data = find_codestream(data)
    precision = _check_codestream(data, header.transfer_syntax, pixel_format)
    _check_expansion(len(data), pixel_format)
    width = 1 if precision <= 8 else 2
    decoded = _decode_jpeg(data, header.transfer_syntax)
    if len(decoded) != pixels * width:
        raise undecodable(f"decoding gave {len(decoded)} bytes, expected {pixels * width}")
    return DecodedFrame(decoded, width, precision)


def _read_frame(stream: BinaryIO, size: int, header: Header, pixel_format: PixelFormat, frame: int) -> bytes:
    """Return the bytes of one frame, after checking that the fragments of all are there (PS3.5, A.4)."""
    table, *fragments = _walk_fragments(stream, size, header.pixels.position)
    frames = pixel_format.frames
    if not any(fragment.length for fragment in fragments):
        raise empty()
    if frames == 1:
        chosen = fragments
    elif len(fragments) == frames:
        chosen = [fragments[frame - 1]]
    elif len(fragments) < frames:
        raise truncated(f"{len(fragments)} compressed fragments are there for {frames} frames")
    else:
        extended = header.elements.value("ExtendedOffsetTable")
        offsets = _integers(extended.data, "<u8") if extended else _read_offsets(stream, table, frames)
        chosen = _fragments_of(frame, frames, fragments, offsets)
    return b"".join(_read(stream, fragment) for fragment in chosen)


def _walk_fragments(stream: BinaryIO, size: int, start: int) -> list[_Fragment]:
    """Return where the items are, up to the delimiter: the offset table (may be empty), then fragments."""
    found: list[_Fragment] = []
    position = start
    while True:
        stream.seek(position)
        head = stream.read(8)
        if len(head) < 8:
            raise truncated("the end of the compressed data is missing")
        tag, length = struct.unpack("<II", head)
        if tag == _SEQUENCE_DELIMITER and found:
            return found
        if tag != _ITEM:
            raise undecodable("the sequence of compressed fragments is malformed")
        first = found[0].position + found[0].length if found else position
        if len(found) > _MOST_FRAGMENTS:
            raise undecodable(f"there are more than {_MOST_FRAGMENTS} compressed fragments")
        found.append(_Fragment(position - first, position + 8, length))
        position += 8 + length
        if position > size:
            raise truncated("a fragment of the compressed data is cut off")


def _read(stream: BinaryIO, fragment: _Fragment) -> bytes:
    stream.seek(fragment.position)
    return stream.read(fragment.length)


def _read_offsets(stream: BinaryIO, table: _Fragment, frames: int) -> list[int]:
    return _integers(_read(stream, table), "<u4") if table.length == 4 * frames else []


def _integers(data: bytes, kind: str) -> list[int]:
    width = np.dtype(kind).itemsize
    numbers: list[int] = np.frombuffer(data, kind, len(data) // width).tolist()
    return numbers


def _fragments_of(frame: int, frames: int, fragments: list[_Fragment], offsets: list[int]) -> list[_Fragment]:
    """Return the fragments of one of several frames that have not one fragment each."""
    starts = {fragment.offset for fragment in fragments}
    if len(offsets) != frames or not starts.issuperset(offsets):
        raise undecodable(f"no offset table says which of {len(fragments)} fragments make up {frames} frames")
    first = offsets[frame - 1]
    after = offsets[frame] if frame < frames else fragments[-1].offset + 1
    return [fragment for fragment in fragments if first <= fragment.offset < after]


def _check_codestream(data: bytes, transfer_syntax: str, pixel_format: PixelFormat) -> int:
    """Compare the sizes that a codestream states with the header's; return its precision in bits."""
    stated = read_jpeg_2000(data) if transfer_syntax in JPEG2000TransferSyntaxes else read_jpeg(data)
    if (stated.rows, stated.columns) != (pixel_format.rows, pixel_format.columns) or stated.samples != 1:
        raise undecodable(
            f"the compressed image is {stated.rows} x {stated.columns} with {stated.samples} sample(s) "
            f"a pixel, and the header says {pixel_format.rows} x {pixel_format.columns} with 1"
        )
    if not 1 <= stated.precision <= 16:
        raise undecodable(f"the compressed image has {stated.precision} bits a pixel, expected at most 16")
    if stated.too_short:
        raise truncated("the compressed image is too short for its size")
    if not data.rstrip(_PADDING).endswith(_END_OF_IMAGE):  # decoders fill what is missing, and do not say so
        raise truncated("the compressed image has no end")
    return stated.precision


def _check_expansion(length: int, pixel_format: PixelFormat) -> None:
    """Refuse a large image of next to no bytes: JPEG 2000 and JPEG-LS hold a blank one of any size in a hundred."""
    if pixel_format.frame_bytes > max(_MOST_EXPANSION * length, _SMALL_FRAME_BYTES):
        raise DicomError(
            f"the compressed image would become more than {_MOST_EXPANSION} times as large; is it blank?",
            reason="TOO_LARGE",
            field="PixelData",
            expected=f"an image that is compressed by at most {_MOST_EXPANSION} to 1",
        )


def _decode_rle(data: bytes, pixels: int, bytes_per_pixel: int) -> bytes:
    try:
        return decode_rle(data, pixels, bytes_per_pixel)
    except ValueError as error:
        raise undecodable(f"RLE: {error}") from error


def _decode_jpeg(data: bytes, transfer_syntax: str) -> bytes:
    module = DECODERS[transfer_syntax]
    try:
        plugin = importlib.import_module(module)
    except ImportError as error:
        raise DicomError(
            f"the pixel data are compressed and pylibjpeg-{module}, which decodes them, is not installed; "
            "run: pip install 'lvseg[serve]'",
            reason="MISSING_DECODER",
            field="TransferSyntaxUID",
            expected="uncompressed or RLE, or an installed decoder",
        ) from error
    try:
        decoded: bytes = plugin.decode_pixel_data(data, version=2)
    except (RuntimeError, ValueError) as error:
        raise undecodable("the compressed image is damaged") from error
    return decoded
