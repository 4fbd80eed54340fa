"""Files and messages made to hurt a server, each with the reason that it has to be refused for."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    MRImageStorage,
    RLELossless,
)

from lvseg_api.v1 import segmentation_pb2 as pb

MIB = 2**20
_UNDEFINED = 0xFFFFFFFF
_END_OF_SEQUENCE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


class Hostile(NamedTuple):
    """A request that has to be refused."""

    name: str
    request: bytes
    """Of a ``SegmentRequest``."""
    reason: str


def hostile_requests() -> Iterator[Hostile]:
    """Yield every request, made only when it is its turn: some have megabytes."""
    for name, dicom, reason in _files():
        yield Hostile(name, pb.SegmentRequest(dicom=dicom).SerializeToString(), reason)
    for name, codestream, syntax, reason in _codestreams():
        dicom = make_slice(4096, 4096, syntax=syntax, fragments=[codestream], PixelSpacing=[0.2, 0.2])
        yield Hostile(name, pb.SegmentRequest(dicom=dicom).SerializeToString(), reason)
    good = make_slice(64, 64)
    for name, contour, reason in _contours():
        message = pb.SegmentRequest(dicom=good).SerializeToString()
        yield Hostile(name, message + contour, reason)
    yield Hostile("message of 4 million outputs", field(5, b"\1" * 4_000_000), "MALFORMED_MESSAGE")
    yield Hostile("message of 2 million unknown fields", b"\x98\x06\1" * 2_000_000, "MALFORMED_MESSAGE")
    yield Hostile(
        "message cut off", pb.SegmentRequest(dicom=good).SerializeToString()[:-9], "MALFORMED_MESSAGE"
    )


def make_slice(
    rows: int,
    columns: int,
    pixels: bytes | NDArray[np.uint16] | None = None,
    *,
    syntax: str = ExplicitVRLittleEndian,
    fragments: list[bytes] | bytes | None = None,
    preamble: bytes = bytes(128),
    **attributes: object,
) -> bytes:
    """Return an MR image that is good but for what is asked for."""
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = MRImageStorage, "1.2.3.4"
    data.PatientName = "Planted^Name"
    data.Rows, data.Columns = rows, columns
    data.PixelSpacing = [1.5, 1.5]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    if fragments is not None:
        data.PixelData = fragments if isinstance(fragments, bytes) else encapsulate(fragments)
        data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    elif pixels is None:
        data.PixelData = bytes(2 * rows * columns)
    else:
        data.PixelData = pixels if isinstance(pixels, bytes) else pixels.tobytes()
    for keyword, value in attributes.items():
        setattr(data, keyword, value)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.preamble = preamble
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def field(number: int, content: bytes) -> bytes:
    """Return a length-delimited field of a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def before_patient(dicom: bytes, elements: bytes) -> bytes:
    """Put elements of group 8 or 9 into the header of a file of :func:`make_slice`."""
    at = dicom.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    return dicom[:at] + elements + dicom[at:]


def sequence(content: bytes, length: int = _UNDEFINED) -> bytes:
    """Return the head of a sequence, and what follows it."""
    return struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, length) + content


def item(length: int = 0) -> bytes:
    """Return the head of an item."""
    return struct.pack("<HHI", 0xFFFE, 0xE000, length)


def jpeg(
    rows: int, columns: int, *, process: int = 0xC0, extra: bytes = b"", scan: bytes = bytes(16)
) -> bytes:
    """Return the markers of a JPEG or JPEG-LS codestream around a scan of any bytes."""
    precision = 8 if process == 0xC0 else 16
    frame = struct.pack(">BHHB3B", precision, rows, columns, 1, 1, 0x11, 0)
    head = b"\xff" + bytes([process]) + struct.pack(">H", 2 + len(frame)) + frame
    return b"\xff\xd8" + extra + head + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + scan + b"\xff\xd9"


def jpeg_2000(
    rows: int,
    columns: int,
    *,
    tile: int | None = None,
    samples: int = 1,
    step: int = 1,
    layers: int = 1,
    levels: int = 5,
    block: int = 4,
    precincts: bytes = b"",
) -> bytes:
    """Return the markers of a JPEG 2000 codestream around one tile-part of twenty bytes.

    Args:
        rows: Of the image.
        columns: Of the image.
        tile: Side of a tile; that of the image if left out.
        samples: A pixel.
        step: Pixels between samples.
        layers: Of quality.
        levels: Of decomposition.
        block: Logarithm of a code block's side, less two.
        precincts: Sizes, a byte for each resolution.
    """
    size = struct.pack(">H8IH", 0, columns, rows, 0, 0, tile or columns, tile or rows, 0, 0, samples)
    size += bytes([15, step, step]) * samples
    coding = bytes([bool(precincts), 0, layers >> 8, layers & 255, 0, levels, block, block, 0, 1]) + precincts
    quantisation = b"\x40" + b"\x48" * (3 * levels + 1)
    content = bytes(20)
    part = struct.pack(">HHIBB", 10, 0, 14 + len(content), 0, 1)
    segments = ((0x51, size), (0x52, coding), (0x5C, quantisation))
    heads = b"".join(bytes([0xFF, code]) + struct.pack(">H", 2 + len(text)) + text for code, text in segments)
    return b"\xff\x4f" + heads + b"\xff\x90" + part + b"\xff\x93" + content + b"\xff\xd9"


def _files() -> Iterator[tuple[str, bytes, str]]:
    good = make_slice(64, 64)
    rle_head = struct.pack("<16I", 2, 64, 504, *[0] * 13)
    yield "deflated, 2 GiB inside", _deflated_bomb(), "DEFLATED"
    yield (
        "RLE of 944 bytes that asks for 8 GiB",
        make_slice(65535, 65535, syntax=RLELossless, fragments=[rle_head + b"\x81\0" * 220]),
        "TOO_LARGE",
    )
    yield (
        "RLE of 944 bytes that asks for the largest slice",
        make_slice(
            4096, 4096, syntax=RLELossless, fragments=[rle_head + b"\x81\0" * 220], PixelSpacing=[0.2, 0.2]
        ),
        "UNDECODABLE",
    )
    yield (
        "RLE of 30 MiB that says nothing",
        make_slice(
            4096, 4096, syntax=RLELossless, fragments=[rle_head + b"\x80" * 30 * MIB], PixelSpacing=[0.2, 0.2]
        ),
        "UNDECODABLE",
    )
    yield (
        "4 million empty fragments",
        make_slice(64, 64, syntax=RLELossless, fragments=item() * 4_000_000),
        "UNDECODABLE",
    )
    yield (
        "sequences nested 450 deep, 9 kB",
        before_patient(good, sequence(item(_UNDEFINED)) * 450),
        "NOT_DICOM",
    )
    yield (
        "sequences nested 600,000 deep",
        before_patient(good, sequence(item(_UNDEFINED)) * 600_000),
        "NOT_DICOM",
    )
    yield (
        "3 million empty items",
        before_patient(good, sequence(item() * 3_000_000) + _END_OF_SEQUENCE),
        "NOT_DICOM",
    )
    yield "a sequence without end", before_patient(good, sequence(b"")), "NOT_DICOM"
    wanted = struct.pack("<HH2sHI", 0x5200, 0x9229, b"SQ", 0, 8)
    yield "an item longer than its sequence", before_patient(good, wanted + item(99)), "NOT_DICOM"
    yield (
        "lengths of FFFFFFFF",
        good.replace(b"OW\0\0" + struct.pack("<I", 8192), b"OW\0\0\xff\xff\xff\xff"),
        "UNDECODABLE",
    )
    yield (
        "a length of FFFFFFFE",
        before_patient(good, struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0xFFFFFFFE)),
        "NOT_DICOM",
    )
    yield (
        "a private element of 20 MiB in front of none",
        before_patient(good, struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 20 * MIB) + bytes(20 * MIB))[
            :-9000
        ],
        "NOT_DICOM",
    )
    yield (
        "a pixel spacing of 20 MiB",
        before_patient(good, struct.pack("<HHI", 0x0028, 0x0030, 20 * MIB) + b"1" * 20 * MIB),
        "NOT_DICOM",
    )
    yield "Rows 65535", make_slice(64, 64, Rows=65535), "TOO_LARGE"
    yield "Rows 4096 of 64", make_slice(64, 64, Rows=4096, PixelSpacing=[0.2, 0.2]), "TRUNCATED_PIXEL_DATA"
    yield "2^31 frames", make_slice(64, 64).replace(*_frames(2**31)), "INVALID_NUMBER_OF_FRAMES"
    yield "2^31 - 1 frames", make_slice(64, 64, NumberOfFrames=2**31 - 1), "FRAME_REQUIRED"
    yield "cut off in the pixels", good[:-1000], "TRUNCATED_PIXEL_DATA"
    yield "cut off in the header", good[:300], "NOT_DICOM"
    yield "TIFF preamble, then junk", b"II*\0" + bytes(124) + b"DICM" + b"\xa5" * 5000, "NOT_DICOM"
    yield "a Windows program as well", make_slice(64, 64, preamble=b"MZ\x90\0".ljust(128, b"\0")), "NOT_DICOM"
    yield "a pixel spacing of 1e-9 mm", make_slice(64, 64, PixelSpacing=[1e-9, 1e-9]), "INVALID_PIXEL_SPACING"
    yield "a pixel spacing of 5 m", make_slice(64, 64, PixelSpacing=[5000, 5000]), "INVALID_PIXEL_SPACING"
    yield "1,200 x 1,200 pixels of 5 mm", make_slice(1200, 1200, PixelSpacing=[5, 5]), "TOO_LARGE"
    yield (
        "a slope of 1e300",
        make_slice(64, 64, RescaleSlope=1e300, RescaleIntercept=0),
        "INVALID_MODALITY_LUT",
    )


def _codestreams() -> Iterator[tuple[str, bytes, str, str]]:
    """Yield codestreams for a slice of 4096 x 4096 pixels."""
    side = 4096
    wanted = (side, side)
    yield "JPEG 2000 of 65535 x 65535", jpeg_2000(65535, 65535), JPEG2000Lossless, "UNDECODABLE"
    yield "JPEG 2000, blank, of 130 bytes", jpeg_2000(*wanted), JPEG2000Lossless, "TOO_LARGE"
    yield "JPEG 2000 of 58,081 tiles", jpeg_2000(*wanted, tile=17), JPEG2000Lossless, "UNDECODABLE"
    yield "JPEG 2000 of 16,384 components", jpeg_2000(*wanted, samples=16384), JPEG2000Lossless, "UNDECODABLE"
    yield "JPEG 2000 of 65,535 layers", jpeg_2000(*wanted, layers=65535), JPEG2000Lossless, "UNDECODABLE"
    yield "JPEG 2000 of 40 levels", jpeg_2000(*wanted, levels=40), JPEG2000Lossless, "UNDECODABLE"
    yield (
        "JPEG 2000 of 4 million precincts",
        jpeg_2000(*wanted, precincts=b"\0" + b"\x11" * 5),
        JPEG2000Lossless,
        "UNDECODABLE",
    )
    yield "JPEG 2000 of 1 million code blocks", jpeg_2000(*wanted, block=0), JPEG2000Lossless, "UNDECODABLE"
    yield "JPEG 2000 of one sample in 255", jpeg_2000(*wanted, step=255), JPEG2000Lossless, "UNDECODABLE"
    decoy = (
        b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s", 200, b"xml ") + jpeg_2000(*wanted).ljust(192, b" ")
    )
    yield "JPEG 2000 behind a decoy", decoy + jpeg_2000(65535, 65535), JPEG2000Lossless, "TOO_LARGE"
    yield "JPEG of 65535 x 65535", jpeg(65535, 65535), JPEGBaseline8Bit, "UNDECODABLE"
    yield "JPEG of 16 bytes", jpeg(*wanted), JPEGBaseline8Bit, "TRUNCATED_PIXEL_DATA"
    yield "JPEG, progressive", jpeg(*wanted, process=0xC2), JPEGBaseline8Bit, "UNDECODABLE"
    scans = b"\xff\xda\0\x08\1\1\0\0\x3f\0" * 100_000
    yield "JPEG of 100,000 scans", jpeg(*wanted, scan=scans), JPEGBaseline8Bit, "UNDECODABLE"
    larger = jpeg(65535, 65535)[2:]
    yield (
        "JPEG with a second frame",
        jpeg(*wanted, scan=bytes(70000) + larger),
        JPEGBaseline8Bit,
        "UNDECODABLE",
    )
    boxes = b"\xff\xeb\0\x0aJP\0\1\0\0\0\0"
    yield "JPEG with boxes of JPEG XT", jpeg(*wanted, extra=boxes), JPEGBaseline8Bit, "UNDECODABLE"
    yield "JPEG lossless of 16 bytes", jpeg(*wanted, process=0xC3), JPEGLosslessSV1, "TRUNCATED_PIXEL_DATA"
    yield "JPEG-LS of 1 kB", jpeg(*wanted, process=0xF7, scan=bytes(1000)), JPEGLSLossless, "TOO_LARGE"
    oversize = b"\xff\xf8\0\x09\4\4\xff\xff\xff\xff\xff\xff"
    yield (
        "JPEG-LS of another size",
        jpeg(*wanted, process=0xF7, extra=oversize),
        JPEGLSLossless,
        "UNDECODABLE",
    )


def _contours() -> Iterator[tuple[str, bytes, str]]:
    """Yield the field *contour*."""
    text = b"10.00 10.00\n" * (10 * MIB // 12)
    yield "contour text of 10 MiB", field(4, field(2, text)), "TOO_MANY_POINTS"
    yield "contour of 5 million corners, 10 MiB", field(4, field(1, b"\x0a\0" * 5_000_000)), "TOO_MANY_POINTS"
    yield "contour of 100,000 corners", field(4, field(1, b"\x0a\0" * 100_000)), "TOO_MANY_POINTS"
    yield "contour of 1e308", field(4, field(2, b"1e308 0\n0 1e308\n-1e308 -1e308\n")), "OUTSIDE_IMAGE"
    yield "contour of no numbers", field(4, field(2, b"nan inf\n0 0\n1 1\n")), "NOT_FINITE"
    yield (
        "contour of one number of 600,000 digits",
        field(4, field(2, b"1" * 600_000 + b" 1\n")),
        "TOO_FEW_POINTS",
    )


def _deflated_bomb() -> bytes:
    """Return 2 MB that inflate to 2 GiB: a private element of zeros."""
    head = make_slice(64, 64, syntax=DeflatedExplicitVRLittleEndian)
    end_of_meta = 144 + struct.unpack("<I", head[140:144])[0]
    squeeze = zlib.compressobj(9, wbits=-15)
    start = squeeze.compress(struct.pack("<HH2sHI", 0x0009, 0x1001, b"OB", 0, 0x7FFFFFF0))
    start += squeeze.flush(zlib.Z_FULL_FLUSH)
    zeros = squeeze.compress(bytes(16 * MIB)) + squeeze.flush(zlib.Z_FULL_FLUSH)  # so that it can be repeated
    return head[:end_of_meta] + start + zeros * 128 + squeeze.flush()


def _frames(count: int) -> tuple[bytes, bytes]:
    """Return what to replace in a file to give it a number of frames that pydicom would not write."""
    at = struct.pack("<HH2sH", 0x0028, 0x0010, b"US", 2)
    text = str(count).encode().ljust(10)
    return at, struct.pack("<HH2sH", 0x0028, 0x0008, b"IS", len(text)) + text + at


def _varint(number: int) -> bytes:
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + _varint(rest) if rest else bytes([low])
