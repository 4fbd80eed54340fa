"""What holds for any bytes at all: they are understood, or refused with a reason, and nothing else happens.

Each function takes the bytes of one input and returns the stable reason of the refusal, "" for none. Any exception
that leaves it is a bug; so is taking long, or more memory than :data:`MEMORY_MIB`.
"""

import string

from lvseg.contour import contour_to_mask, parse_contour
from lvseg.dicom import read_slice
from lvseg.errors import ContourError, DicomError, InputError, OptionError
from lvseg_serve.rpc.converters import to_request
from lvseg_serve.rpc.wire import parse_request
from lvseg_serve.stages import prepare

WORKING_SPACING_MM = 1.0
MEMORY_MIB = 1024
"""Resident memory of the fuzzer's process, libraries and corpus included."""
TIME_S = 5
"""For one input, instrumented; the longest that was seen takes a tenth of it without."""

_SHAPE = (64, 72)
_REASON = frozenset(string.ascii_uppercase + string.digits + "_")


def dicom(data: bytes) -> str:
    """Hold the reader to its promise: a slice whose figures make sense, or a DicomError."""
    try:
        found = read_slice(data)
    except DicomError as error:
        return _reason(error)
    _require(found.pixels.ndim == 2 and min(found.pixels.shape) > 0, "a slice has pixels")
    _require(min(found.pixel_spacing) > 0, "a slice has a spacing")
    return ""


def contour(data: bytes) -> str:
    """Hold contour text to its promise: a mask, or a ContourError."""
    try:
        contour_to_mask(parse_contour(data.decode("utf-8", "replace")), _SHAPE)
    except ContourError as error:
        return _reason(error)
    return ""


def request(data: bytes) -> str:
    """Hold a message to its promise: a slice that is ready for the engine, or an InputError."""
    try:
        prepared = prepare(to_request(parse_request(data)), WORKING_SPACING_MM)
    except (DicomError, ContourError, OptionError) as error:
        return _reason(error)
    except InputError as error:
        _require(type(error) is InputError, "an error of the caller's")
        return _reason(error)
    _require(prepared.pixels.ndim == 2 and min(prepared.pixels.shape) > 0, "a slice has pixels")
    return ""


def _reason(error: InputError) -> str:
    _require(bool(error.reason) and _REASON.issuperset(error.reason), "a refusal has a stable reason")
    _require("\n" not in str(error), "a message is one line")
    return error.reason


def _require(holds: bool, what: str) -> None:
    if not holds:
        raise AssertionError(what)
