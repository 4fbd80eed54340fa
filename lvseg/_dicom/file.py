"""Find in a DICOM file the elements that a slice needs, and where its pixels lie (PS3.10)."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from pydicom import config, uid

from lvseg._dicom.dataset import DataSet
from lvseg._dicom.parser import UNDEFINED_LENGTH, Encoding, Head, Parser, is_vr, not_dicom
from lvseg.errors import DicomError

DECODERS: dict[str, str] = {
    uid.JPEGBaseline8Bit: "libjpeg",
    uid.JPEGExtended12Bit: "libjpeg",
    uid.JPEGLossless: "libjpeg",
    uid.JPEGLosslessSV1: "libjpeg",
    uid.JPEGLSLossless: "libjpeg",
    uid.JPEGLSNearLossless: "libjpeg",
    uid.JPEG2000Lossless: "openjpeg",
    uid.JPEG2000: "openjpeg",
}
"""From each JPEG transfer syntax to the module of the pylibjpeg plug-in that decodes it."""

NATIVE = frozenset({uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian})

_PREAMBLE_STARTS = frozenset({bytes(4), b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"})
"""Unused, or that of a TIFF or BigTIFF file (PS3.10, 7.1)."""

_PIXEL_DATA, _FLOAT_PIXEL_DATA = 0x7FE00010, (0x7FE00008, 0x7FE00009)
_WANTED = (
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "InstanceNumber"),
    *("Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "ExtendedOffsetTable"),
    *("PixelSpacing", "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient"),
    *("TriggerTime", "NominalCardiacTriggerDelayTime", "RescaleSlope", "RescaleIntercept"),
    *("ModalityLUTSequence", "LUTDescriptor", "LUTData"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "PixelMeasuresSequence"),
    *("PlanePositionSequence", "PlaneOrientationSequence", "CardiacSynchronizationSequence"),
    "PixelValueTransformationSequence",
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a file says of its pixels."""

    transfer_syntax: str
    elements: DataSet
    pixels: Head
    """Of the element *Pixel Data*."""


def read_header(stream: BinaryIO, size: int, frame: int) -> Header:
    """Read the elements that a slice needs.

    Args:
        stream: At the start of the file.
        size: Of the file, in bytes.
        frame: The frame, from 1, to read what differs between frames for.

    Raises:
        DicomError: ``NOT_DICOM``, ``DEFLATED``, ``UNSUPPORTED_TRANSFER_SYNTAX``, ``NO_PIXEL_DATA`` or
            ``UNSUPPORTED_PIXEL_FORMAT``.
        OSError: If the file cannot be read.
    """
    _skip_preamble(stream, size)
    declared = _read_transfer_syntax(stream, size)
    _check_transfer_syntax(declared)
    transfer_syntax, encoding = _find_encoding(stream, declared)
    stops = {_PIXEL_DATA, *_FLOAT_PIXEL_DATA}
    elements, pixels = Parser(stream, size, _WANTED, frame).read(encoding, stops.__contains__)
    if pixels is None:
        raise DicomError(
            "there are no pixel data; expected an image",
            reason="NO_PIXEL_DATA",
            field="PixelData",
            expected="an image",
        )
    if pixels.tag != _PIXEL_DATA:
        raise DicomError(
            "the pixel data are floating-point numbers; expected integers of 8 to 16 bits",
            reason="UNSUPPORTED_PIXEL_FORMAT",
            field="PixelData",
            expected="integers of 8 to 16 bits",
        )
    if pixels.length == UNDEFINED_LENGTH and not declared:
        raise DicomError(
            "the pixel data are compressed, and TransferSyntaxUID, which says how, is absent; "
            "store the object as a file with its meta information",
            reason="UNSUPPORTED_TRANSFER_SYNTAX",
            field="TransferSyntaxUID",
        )
    return Header(transfer_syntax=transfer_syntax, elements=elements, pixels=pixels)


def _skip_preamble(stream: BinaryIO, size: int) -> None:
    """Move to the first element. Without a preamble, as in old files, the start has to look like one.

    The standard leaves the preamble to whoever writes it (PS3.10, 7.1), and real files have stray bytes further on in
    it. Its first four say what else a file is: none that lvseg takes in is a program or a script as well.
    """
    head = stream.read(132)
    if head[128:] == b"DICM":
        if head[:4] not in _PREAMBLE_STARTS:
            raise not_dicom("its preamble is that of another kind of file")
        return
    stream.seek(0)
    if len(head) < 132:
        raise not_dicom("it is too short" if head else "it is empty")
    group, length = struct.unpack("<H2xI", head[:8])
    explicit = is_vr(head[4:6])
    little = group in (0x0002, 0x0008) and (explicit or length <= size)
    if not little and not (group == 0x0800 and explicit):  # 0x0800: group 8, big endian
        raise not_dicom("it does not start like one")


def _peek(stream: BinaryIO) -> bytes:
    """Return the tag of the next element and, if there is one, its VR."""
    start = stream.tell()
    head = stream.read(6)
    stream.seek(start)
    return head


def _read_transfer_syntax(stream: BinaryIO, size: int) -> str:
    """Return the transfer syntax of the file meta information, "" without one, and move past it."""
    encoding = Encoding(implicit=not is_vr(_peek(stream)[4:]), little_endian=True)
    meta, after = Parser(stream, size, ["TransferSyntaxUID"]).read(encoding, lambda tag: tag >> 16 != 0x0002)
    if after is None:
        raise not_dicom("it ends before its data set")
    stream.seek(after.start)
    return meta.text("TransferSyntaxUID")


def _check_transfer_syntax(transfer_syntax: str) -> None:
    if not transfer_syntax or transfer_syntax in {*NATIVE, *DECODERS, uid.RLELossless}:
        return
    if transfer_syntax == uid.DeflatedExplicitVRLittleEndian:
        raise DicomError(
            "the data set is deflated, and refused because it could inflate without bound; "
            "store it with another transfer syntax, such as Explicit VR Little Endian",
            reason="DEFLATED",
            field="TransferSyntaxUID",
            expected="a transfer syntax that is not deflated",
        )
    found = uid.UID(transfer_syntax, validation_mode=config.IGNORE)
    name = (
        "unknown" if found.name == str(found) else found.name
    )  # of what it does not know, it is the file's own text
    raise DicomError(
        f"the transfer syntax ({name}) is not supported; store the object uncompressed",
        reason="UNSUPPORTED_TRANSFER_SYNTAX",
        field="TransferSyntaxUID",
        expected="uncompressed, RLE, JPEG, JPEG-LS or JPEG 2000",
    )


def _find_encoding(stream: BinaryIO, declared: str) -> tuple[str, Encoding]:
    """Return the transfer syntax and the encoding of the data set that follows.

    Whether it has VRs is seen on its first element: some files declare the one and hold the other.
    """
    head = _peek(stream)
    explicit = is_vr(head[4:])
    if declared:
        return declared, Encoding(not explicit, declared != uid.ExplicitVRBigEndian)
    little_endian = not explicit or head[0] != 0  # big endian puts the 00 of group 0008 first
    explicit_syntax = uid.ExplicitVRLittleEndian if little_endian else uid.ExplicitVRBigEndian
    return explicit_syntax if explicit else uid.ImplicitVRLittleEndian, Encoding(not explicit, little_endian)
