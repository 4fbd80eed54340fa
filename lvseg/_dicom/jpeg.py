"""What a JPEG or JPEG-LS codestream states, from its markers alone (ITU-T T.81, annex B; T.87, annex C).

libjpeg follows much more than DICOM uses: hierarchies of frames, progressive scans without number, and JPEG XT, whose
boxes hold images of their own. What none of DICOM's processes has is refused, so that what was read here is
what is decoded: one frame of one size, in one scan.
"""

import re
import struct

from lvseg._dicom.codestream import Segments, Stated
from lvseg._dicom.refusals import undecodable

_BASELINE, _EXTENDED, _LOSSLESS, _JPEG_LS = 0xC0, 0xC1, 0xC3, 0xF7
_FRAMES = frozenset({_BASELINE, _EXTENDED, _LOSSLESS, _JPEG_LS})
_SCAN, _PRESETS = 0xDA, 0xF8
_JPEG_XT = 0xEB
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)}) - {_JPEG_XT}
"""Huffman, arithmetic and quantisation tables, restart interval, comment, application data."""
_OVERSIZE = 4
"""The kind of JPEG-LS preset parameters that states another size than the frame."""
_IN_SCAN = re.compile(rb"\xff[\x80-\xcf\xd8\xda-\xfe]")
"""A marker that may not stand in or after the one scan: all but restarts, the end and filling."""


def read_jpeg(data: bytes) -> Stated:
    """Return what the codestream states.

    Raises:
        DicomError: ``UNDECODABLE`` if it is malformed or of no process of DICOM's.
    """
    if data[:2] != b"\xff\xd8":
        raise undecodable("the compressed image has no readable header")
    segments, frame, process = Segments(data, 2), b"", 0
    while (marker := segments.marker()) != _SCAN:
        content = segments.take()
        if marker in _FRAMES and not frame:
            frame, process = content, marker
        elif marker not in _TABLES and not (marker == _PRESETS and content[:1] != bytes([_OVERSIZE])):
            raise undecodable("the compressed image has parts that no JPEG of DICOM's has")
    segments.take()
    if len(frame) < 6:
        raise undecodable("the compressed image has no readable header")
    if _IN_SCAN.search(data, segments.position):
        raise undecodable("the compressed image has more than one scan")
    precision, rows, columns, samples = struct.unpack(">BHHB", frame[:6])
    bits = 8 * (len(data) - segments.position)
    return Stated(rows, columns, samples, precision, too_short=bits < _fewest_bits(process, rows, columns))


def _fewest_bits(process: int, rows: int, columns: int) -> int:
    """Return how many bits a scan has at least: no code is shorter than one."""
    if process == _LOSSLESS:  # one code a pixel
        return rows * columns
    if process == _JPEG_LS:  # a run may take a whole line
        return rows
    return 2 * -(-rows // 8) * -(-columns // 8)  # a first coefficient and the end of a block
