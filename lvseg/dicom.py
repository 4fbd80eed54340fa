"""Read one slice from a DICOM object: its pixels as numbers, and where and when it lies."""

import io
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from lvseg._dicom.dataset import DataSet
from lvseg._dicom.file import read_header
from lvseg._dicom.image import LARGEST_SIDE, read_pixel_format
from lvseg._dicom.pixels import apply_modality_lut, read_stored
from lvseg.errors import DicomError, OptionError

__all__ = ["LARGEST_SIDE", "Orientation", "Position", "Slice", "read_slice"]

Position = tuple[float, float, float]
Orientation = tuple[float, float, float, float, float, float]
Accept = Callable[[tuple[int, int], tuple[float, float]], None]

_TWO_POSITIVE_NUMBERS = "two positive numbers: mm between rows, mm between columns"


@dataclass(frozen=True, eq=False, kw_only=True)
class Slice:
    """One 2-D image, with what its object says about the place and the time of it.

    Values that place it, or name it, are ``None`` or ``""`` where the object has none or where they are
    unreadable; real objects break rules, and no pixel depends on them. The text form shows neither pixels
    nor UIDs, so that it may go into a log.
    """

    pixels: NDArray[np.float32] = field(repr=False)
    """Shape ``(rows, columns)``, after the modality LUT, MONOCHROME1 inverted: the brighter, the higher."""
    pixel_spacing: tuple[float, float]
    """Between rows, between columns, in mm, from centre to centre."""
    position_mm: Position | None
    """Centre of the first pixel, in the patient's coordinates."""
    orientation: Orientation | None
    """Direction cosines along a row, then along a column."""
    slice_spacing_mm: float | None
    """*Spacing Between Slices*, from centre to centre; not their thickness."""
    trigger_time_ms: float | None
    """From the R wave to this phase."""
    instance_number: int | None
    frame: int
    """From 1."""
    sop_instance_uid: str = field(repr=False)
    series_instance_uid: str = field(repr=False)
    study_instance_uid: str = field(repr=False)
    frame_of_reference_uid: str = field(repr=False)


def read_slice(
    source: bytes | str | PathLike[str],
    *,
    frame: int | None = None,
    pixel_spacing: tuple[float, float] | None = None,
    accept: Accept | None = None,
) -> Slice:
    """Read one frame of a monochrome DICOM object.

    Implicit and explicit VR, little and big endian, uncompressed, RLE, JPEG, JPEG-LS and JPEG 2000 (the
    last three need the pylibjpeg plug-ins of ``lvseg[serve]``); 8 to 16 bits stored, signed or not.
    float32 holds each stored value exactly, as it has 24 bits for it; a rescale is computed in float64 and
    rounded once. Everything cheap is checked before a pixel is decoded, and of several frames only the
    wanted one is. Safe in threads, and silent: it warns of nothing, and no text of the object, which may
    be a patient's, gets into a message.

    Args:
        source: The bytes of a file, or the path of one.
        frame: Which frame, from 1; may be left out where there is one.
        pixel_spacing: ``(between rows, between columns)`` in mm, for an object that has none. Where it has
            one, its own counts.
        accept: Called with the slice's ``(rows, columns)`` and its pixel spacing before a pixel is read, to
            refuse it by an error of its own.

    Raises:
        DicomError: If the object cannot be read as a slice. ``reason`` is one of ``UNREADABLE_FILE``,
            ``NOT_DICOM``, ``DEFLATED``, ``UNSUPPORTED_TRANSFER_SYNTAX``, ``NO_PIXEL_DATA``,
            ``MISSING_ROWS_OR_COLUMNS``, ``TOO_LARGE``, ``COLOUR``, ``UNSUPPORTED_PIXEL_FORMAT``,
            ``INVALID_NUMBER_OF_FRAMES``, ``FRAME_REQUIRED``, ``NO_SUCH_FRAME``, ``NO_PIXEL_SPACING``,
            ``INVALID_PIXEL_SPACING``, ``TRUNCATED_PIXEL_DATA``, ``UNDECODABLE``, ``MISSING_DECODER`` and
            ``INVALID_MODALITY_LUT``. The text starts with the path where ``source`` is one.
        OptionError: ``INVALID_PIXEL_SPACING``, if the argument is not two positive numbers.

    References:
        DICOM PS3.3, C.7.6.3 "Image Pixel", C.7.6.16 "Multi-frame Functional Groups", C.11.1 "Modality LUT",
        10.7.1.3 "Pixel Spacing Value Order and Valid Values"; PS3.5, 8 and A.4.
    """
    if pixel_spacing is not None and not _is_spacing(pixel_spacing):
        raise OptionError(
            f"the pixel spacing given is wrong; expected {_TWO_POSITIVE_NUMBERS}",
            reason="INVALID_PIXEL_SPACING",
            field="pixel_spacing",
            expected=_TWO_POSITIVE_NUMBERS,
        )
    if isinstance(source, bytes):
        return _read(io.BytesIO(source), len(source), frame, pixel_spacing, accept)
    try:
        with Path(source).open("rb") as stream:
            return _read(stream, os.fstat(stream.fileno()).st_size, frame, pixel_spacing, accept)
    except DicomError as error:
        raise DicomError(
            f"{source}: {error}", reason=error.reason, field=error.field, expected=error.expected
        ) from error
    except OSError as error:
        raise DicomError(
            f"{source}: cannot be read: {error.strerror or 'input or output failed'}",
            reason="UNREADABLE_FILE",
        ) from error


def _read(
    stream: BinaryIO,
    size: int,
    frame: int | None,
    given_spacing: tuple[float, float] | None,
    accept: Accept | None,
) -> Slice:
    header = read_header(stream, size, 1 if frame is None else frame)
    elements = header.elements
    pixel_format = read_pixel_format(elements)
    chosen = _choose_frame(frame, pixel_format.frames)
    pixel_spacing = _pixel_spacing(elements, given_spacing)
    if accept is not None:
        accept((pixel_format.rows, pixel_format.columns), pixel_spacing)
    stored = read_stored(stream, size, header, pixel_format, chosen)
    position = _finite(elements.frame_numbers("PlanePositionSequence", "ImagePositionPatient"), 3)
    cosines = _finite(elements.frame_numbers("PlaneOrientationSequence", "ImageOrientationPatient"), 6)
    slice_spacing = _finite(elements.frame_numbers("PixelMeasuresSequence", "SpacingBetweenSlices"), 1)
    delay = elements.frame_numbers("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime")
    trigger_time = _finite(elements.numbers("TriggerTime") or delay, 1)
    return Slice(
        pixels=apply_modality_lut(stored, elements, signed=pixel_format.signed),
        pixel_spacing=pixel_spacing,
        position_mm=cast("Position | None", position),
        orientation=cast("Orientation | None", cosines),
        slice_spacing_mm=slice_spacing[0] if slice_spacing and slice_spacing[0] > 0 else None,
        trigger_time_ms=trigger_time[0] if trigger_time else None,
        instance_number=elements.whole_number("InstanceNumber"),
        frame=chosen,
        sop_instance_uid=elements.text("SOPInstanceUID"),
        series_instance_uid=elements.text("SeriesInstanceUID"),
        study_instance_uid=elements.text("StudyInstanceUID"),
        frame_of_reference_uid=elements.text("FrameOfReferenceUID"),
    )


def _choose_frame(frame: int | None, frames: int) -> int:
    if frame is None and frames > 1:
        raise DicomError(
            f"the object has {frames} frames; say which, from 1 to {frames} (lvseg-segment --frame)",
            reason="FRAME_REQUIRED",
            field="NumberOfFrames",
            expected=f"a frame from 1 to {frames}",
        )
    chosen = 1 if frame is None else frame
    if not 1 <= chosen <= frames:
        raise DicomError(
            f"there is no frame {chosen}: the object has {frames}, counted from 1",
            reason="NO_SUCH_FRAME",
            field="NumberOfFrames",
            expected=f"a frame from 1 to {frames}",
        )
    return chosen


def _pixel_spacing(elements: DataSet, given: tuple[float, float] | None) -> tuple[float, float]:
    own = elements.frame_numbers("PixelMeasuresSequence", "PixelSpacing")
    if not own and given is not None:
        return float(given[0]), float(given[1])
    if not own:
        raise DicomError(
            "PixelSpacing is absent; give the mm between rows and between columns (lvseg-segment --pixel-spacing)",
            reason="NO_PIXEL_SPACING",
            field="PixelSpacing",
            expected=_TWO_POSITIVE_NUMBERS,
        )
    if not _is_spacing(own):
        raise DicomError(
            f"PixelSpacing is wrong; expected {_TWO_POSITIVE_NUMBERS}",
            reason="INVALID_PIXEL_SPACING",
            field="PixelSpacing",
            expected=_TWO_POSITIVE_NUMBERS,
        )
    return own[0], own[1]


def _is_spacing(values: Sequence[float]) -> bool:
    return len(values) == 2 and all(math.isfinite(value) and value > 0 for value in values)


def _finite(values: tuple[float, ...], count: int) -> tuple[float, ...] | None:
    """Return ``values`` if they are so many finite numbers."""
    return values if len(values) == count and all(map(math.isfinite, values)) else None
