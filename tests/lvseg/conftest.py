"""A maker of small DICOM objects."""

import io
from collections.abc import Callable, Sequence

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian

MakeDicom = Callable[..., bytes]

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
PATIENT = "Doe^Jane"


@pytest.fixture(scope="session")
def make_dicom() -> MakeDicom:
    """Return :func:`dicom_bytes`."""
    return dicom_bytes


def dicom_bytes(
    pixels: NDArray[np.integer] | None = None,
    *,
    syntax: str = ExplicitVRLittleEndian,
    fragments: Sequence[bytes] | bytes | None = None,
    vr: str = "OW",
    explicit_lengths: bool = True,
    **attributes: object,
) -> bytes:
    """Return the bytes of an MR image.

    Args:
        pixels: Stored values, shape (rows, columns) or (frames, rows, columns); the dtype says how many bits
            are allocated and whether they are signed. A 2 x 3 image if left out.
        syntax: UID of the transfer syntax.
        fragments: Compressed frames, or a whole encapsulated value, to be written in the place of ``pixels``.
        vr: Of the pixel data.
        explicit_lengths: Whether sequences and their items are written with their lengths.
        attributes: Elements to add by keyword, or to leave out where they are ``None``.
    """
    if pixels is None:
        pixels = np.arange(6, dtype=np.uint16).reshape(2, 3)
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = MR_IMAGE, "1.2.3.4"
    data.PatientName, data.PatientID, data.PatientBirthDate = PATIENT, "MRN-4711", "19450315"
    data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2", "1.2.3", "1.2.9"
    data.PixelSpacing = [1.5, 1.25]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape[-2:]
    data.BitsAllocated = data.BitsStored = 8 * pixels.itemsize
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        data.NumberOfFrames = len(pixels)
    if fragments is None:
        data.PixelData = _native(pixels, big_endian=syntax == ExplicitVRBigEndian, vr=vr)
        data["PixelData"].VR = vr
    else:
        data.PixelData = fragments if isinstance(fragments, bytes) else encapsulate(list(fragments))
        data["PixelData"].VR, data["PixelData"].is_undefined_length = "OB", True
    for keyword, value in attributes.items():
        if value is not None:
            setattr(data, keyword, value)
        elif keyword in data:
            delattr(data, keyword)
    if "HighBit" not in attributes and "BitsStored" in data:
        data.HighBit = data.BitsStored - 1
    _set_lengths(data, undefined=not explicit_lengths)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    pydicom.dcmwrite(file, data, enforce_file_format=True)
    return file.getvalue()


def _native(pixels: NDArray[np.integer], *, big_endian: bool, vr: str) -> bytes:
    if not big_endian:
        value = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    elif pixels.itemsize == 2:
        return pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    else:
        value = pixels.tobytes()
    value += b"\0" * (len(value) % 2)
    if big_endian and vr == "OW":  # bytes are paired into words, and each word is turned round
        return np.frombuffer(value, "<u2").astype(">u2").tobytes()
    return value


def _set_lengths(data: Dataset, *, undefined: bool) -> None:
    for element in data:
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
                _set_lengths(item, undefined=undefined)
