"""Check that an object's pixels are of a kind that can be a slice, before any is read."""

from dataclasses import dataclass

from lvseg._dicom.dataset import DataSet
from lvseg.errors import DicomError

LARGEST_SIDE = 4096
_MOST_FRAMES = 2**31 - 1
"""The largest integer string (PS3.5, 6.2)."""


@dataclass(frozen=True, kw_only=True)
class PixelFormat:
    """The *Image Pixel* attributes of a monochrome object, checked."""

    rows: int
    columns: int
    frames: int
    bits_allocated: int
    bits_stored: int
    signed: bool
    inverted: bool
    """MONOCHROME1: the lowest value is white."""

    @property
    def frame_bytes(self) -> int:
        """Length of an uncompressed frame."""
        return self.rows * self.columns * self.bits_allocated // 8


def read_pixel_format(elements: DataSet) -> PixelFormat:
    """Read and check the *Image Pixel* attributes.

    Raises:
        DicomError: ``MISSING_ROWS_OR_COLUMNS``, ``TOO_LARGE``, ``COLOUR``, ``UNSUPPORTED_PIXEL_FORMAT`` or
            ``INVALID_NUMBER_OF_FRAMES``.
    """
    rows, columns = _side(elements, "Rows"), _side(elements, "Columns")
    inverted = _is_inverted(elements)
    allocated = _one_of(elements, "BitsAllocated", range(8, 17, 8))
    stored = _one_of(elements, "BitsStored", range(8, allocated + 1))
    if elements.value("HighBit") is not None:
        _one_of(elements, "HighBit", range(stored - 1, stored))
    return PixelFormat(
        rows=rows,
        columns=columns,
        frames=_frame_count(elements),
        bits_allocated=allocated,
        bits_stored=stored,
        signed=_one_of(elements, "PixelRepresentation", range(2)) == 1,
        inverted=inverted,
    )


def _side(elements: DataSet, keyword: str) -> int:
    length = elements.whole_number(keyword)
    expected = f"1 to {LARGEST_SIDE}"
    if length is None or length < 1:
        raise DicomError(
            f"{keyword} is absent or no positive number; expected the size of the image",
            reason="MISSING_ROWS_OR_COLUMNS",
            field=keyword,
            expected=expected,
        )
    if length > LARGEST_SIDE:
        raise DicomError(
            f"the image is too large: {keyword} is {length}, expected {expected}",
            reason="TOO_LARGE",
            field=keyword,
            expected=expected,
        )
    return length


def _is_inverted(elements: DataSet) -> bool:
    """Tell MONOCHROME1 from MONOCHROME2, and refuse everything else."""
    samples = elements.whole_number("SamplesPerPixel")
    if samples not in (None, 1):
        raise DicomError(
            f"the image is in colour: SamplesPerPixel is {samples}, expected 1",
            reason="COLOUR",
            field="SamplesPerPixel",
            expected="1",
        )
    interpretation = elements.text("PhotometricInterpretation")
    if interpretation not in ("MONOCHROME1", "MONOCHROME2"):
        raise DicomError(
            "the image is not monochrome: expected the PhotometricInterpretation MONOCHROME1 or MONOCHROME2",
            reason="COLOUR" if interpretation else "UNSUPPORTED_PIXEL_FORMAT",
            field="PhotometricInterpretation",
            expected="MONOCHROME1 or MONOCHROME2",
        )
    return interpretation == "MONOCHROME1"


def _one_of(elements: DataSet, keyword: str, allowed: range) -> int:
    number = elements.whole_number(keyword)
    if number is None or number not in allowed:
        expected = " or ".join(map(str, allowed)) if len(allowed) < 3 else f"{allowed[0]} to {allowed[-1]}"
        raise DicomError(
            f"{keyword} is {'absent or no number' if number is None else number}; expected {expected}",
            reason="UNSUPPORTED_PIXEL_FORMAT",
            field=keyword,
            expected=expected,
        )
    return number


def _frame_count(elements: DataSet) -> int:
    if elements.value("NumberOfFrames") is None:
        return 1
    count = elements.whole_number("NumberOfFrames")
    if count is None or not 0 <= count <= _MOST_FRAMES:
        raise DicomError(
            f"NumberOfFrames is no number of frames; expected a whole number from 1 to {_MOST_FRAMES}",
            reason="INVALID_NUMBER_OF_FRAMES",
            field="NumberOfFrames",
            expected=f"a whole number from 1 to {_MOST_FRAMES}",
        )
    return max(count, 1)  # some objects of one frame say 0
