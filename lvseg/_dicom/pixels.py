"""From one frame's bytes to stored values, and through the modality LUT to the numbers of a slice."""

import math
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import ExplicitVRBigEndian

from lvseg._dicom.compressed import read_compressed
from lvseg._dicom.dataset import DataSet
from lvseg._dicom.file import NATIVE, Header
from lvseg._dicom.image import PixelFormat
from lvseg._dicom.parser import UNDEFINED_LENGTH
from lvseg._dicom.refusals import empty, truncated, undecodable
from lvseg.errors import DicomError

_ROWS_AT_ONCE = 64


def read_stored(
    stream: BinaryIO, size: int, header: Header, pixel_format: PixelFormat, frame: int
) -> NDArray[np.int32]:
    """Read and decode one frame, and no other.

    Args:
        stream: The file that ``header`` was read from.
        size: Of the file, in bytes.
        header: What the file says of itself.
        pixel_format: As read from ``header``.
        frame: From 1.

    Returns:
        Stored values, shape ``(rows, columns)``; MONOCHROME1 mirrored within the range of the stored bits.

    Raises:
        DicomError: ``TRUNCATED_PIXEL_DATA``, ``NO_PIXEL_DATA``, ``UNDECODABLE`` or ``MISSING_DECODER``.
    """
    compressed = header.pixels.length == UNDEFINED_LENGTH
    if compressed == (header.transfer_syntax in NATIVE):
        found = "compressed" if compressed else "uncompressed"
        raise undecodable(f"they are {found}, and TransferSyntaxUID says otherwise")
    bits = pixel_format.bits_stored
    if compressed:
        decoded = read_compressed(stream, size, header, pixel_format, frame)
        values = np.frombuffer(decoded.data, f"<u{decoded.bytes_per_pixel}")
        bits = min(bits, decoded.precision)
    else:
        order = ">" if header.transfer_syntax == ExplicitVRBigEndian else "<"
        data = _read_native(stream, size, header, pixel_format, frame)
        values = np.frombuffer(data, f"{order}u{pixel_format.bits_allocated // 8}")
    stored = _lowest_bits(values, bits, signed=pixel_format.signed)
    if pixel_format.inverted:
        lowest_plus_highest = -1 if pixel_format.signed else (1 << pixel_format.bits_stored) - 1
        stored = lowest_plus_highest - stored
    return stored.reshape(pixel_format.rows, pixel_format.columns)


def _lowest_bits(values: NDArray[np.unsignedinteger], bits: int, *, signed: bool) -> NDArray[np.int32]:
    """Return the numbers in the lowest ``bits``: those above may hold anything (PS3.5, 8.1.1)."""
    stored = values.astype(np.int32) & ((1 << bits) - 1)
    if signed:  # two's complement: the highest bit counts negative
        stored -= (stored >> (bits - 1)) << bits
    return stored


def _read_native(stream: BinaryIO, size: int, header: Header, pixel_format: PixelFormat, frame: int) -> bytes:
    position, frame_bytes = header.pixels.position, pixel_format.frame_bytes
    found, expected = min(header.pixels.length, size - position), frame_bytes * pixel_format.frames
    if header.pixels.length == 0:
        raise empty()
    if found < expected:
        raise truncated(f"{found} of {expected} bytes are there")
    offset = frame_bytes * (frame - 1)
    in_big_endian_words = header.transfer_syntax == ExplicitVRBigEndian and header.pixels.vr == "OW"
    if pixel_format.bits_allocated == 16 or not in_big_endian_words:
        stream.seek(position + offset)
        return stream.read(frame_bytes)
    # Two pixels a word, the first in its lower byte, which big endian puts last (PS3.5, 8.1.1): swap
    # whole words, then cut
    lead = offset % 2
    stream.seek(position + offset - lead)
    words = np.frombuffer(stream.read((lead + frame_bytes + 1) // 2 * 2), ">u2")
    return words.astype("<u2").tobytes()[lead : lead + frame_bytes]


def apply_modality_lut(stored: NDArray[np.int32], elements: DataSet, *, signed: bool) -> NDArray[np.float32]:
    """Return what stored values mean: through the table, or slope and intercept, that the object has.

    A slope without an intercept is taken with 0, an intercept without a slope with 1 (PS3.3, C.11.1).

    Raises:
        DicomError: ``INVALID_MODALITY_LUT``.
    """
    table = elements.item("ModalityLUTSequence")
    if table.values:
        return _in_blocks(_look_up(table, signed=signed), stored)
    slope = _rescale(elements, "RescaleSlope", default=1.0)
    intercept = _rescale(elements, "RescaleIntercept", default=0.0)
    if slope == 0 or 2**16 * abs(slope) + abs(intercept) > float(np.finfo(np.float32).max):
        raise _invalid_modality_lut("RescaleSlope", "a slope that is not 0, and values that fit into float32")
    if (slope, intercept) == (1, 0):
        return stored.astype(np.float32)
    return _in_blocks(lambda block: block * slope + intercept, stored)


def _in_blocks(
    function: Callable[[NDArray[np.int32]], NDArray[Any]], stored: NDArray[np.int32]
) -> NDArray[np.float32]:
    """Apply a function of float64 to a few rows at a time: to a whole slice it would take twice the result's memory."""
    values = np.empty(stored.shape, np.float32)
    for first in range(0, len(stored), _ROWS_AT_ONCE):
        values[first : first + _ROWS_AT_ONCE] = function(stored[first : first + _ROWS_AT_ONCE])
    return values


def _rescale(elements: DataSet, keyword: str, *, default: float) -> float:
    values = elements.frame_numbers("PixelValueTransformationSequence", keyword)
    if len(values) > 1 or not all(map(math.isfinite, values)):
        raise _invalid_modality_lut(keyword, "one finite number")
    return values[0] if values else default


def _look_up(table: DataSet, *, signed: bool) -> Callable[[NDArray[np.int32]], NDArray[Any]]:
    """Return the map of an item of a *Modality LUT Sequence*; values outside take its first or last entry."""
    descriptor, data = table.numbers("LUTDescriptor"), table.value("LUTData")
    if len(descriptor) != 3 or descriptor[2] not in (8, 16) or data is None:
        raise _invalid_modality_lut("LUTDescriptor", "three numbers, the third being 8 or 16, and LUTData")
    count = int(descriptor[0]) & 0xFFFF or 2**16
    first = int(descriptor[1]) & 0xFFFF
    if signed and first >= 2**15:
        first -= 2**16
    entries = np.frombuffer(data.data, "<u2" if data.little_endian else ">u2", len(data.data) // 2)
    if descriptor[2] == 8 and len(entries) < count:  # two entries a word, the first in its lower byte
        entries = entries.astype("<u2").view(np.uint8)
    if len(entries) < count:
        raise _invalid_modality_lut("LUTData", f"{count} entries")
    return lambda stored: entries[np.clip(stored - first, 0, count - 1)]


def _invalid_modality_lut(field: str, expected: str) -> DicomError:
    return DicomError(
        f"the modality LUT cannot be applied: {field} is wrong; expected {expected}",
        reason="INVALID_MODALITY_LUT",
        field=field,
        expected=expected,
    )
