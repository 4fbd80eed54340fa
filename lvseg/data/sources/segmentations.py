"""DICOM SEG objects beside the DICOM images that their frames refer to."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from lvseg.data.files import distinct, files_below, looks_like_dicom
from lvseg.data.labelled import Index, LabelledImage, Problem
from lvseg.data.sources.places import Place, number_of, patient_and_name, settle, two_images
from lvseg.data.sources.values import with_mask
from lvseg.dicom import read_slice
from lvseg.errors import DatasetError, LabelError

_SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"
_LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
_VENTRICLE = "left ventric"
_WALL = ("myocard", "wall", "epicard", "muscle")


@dataclass(frozen=True)
class SegmentedSlice:
    """A DICOM image and a frame of a DICOM SEG object, not yet read."""

    patient: str
    name: str
    """Patient and path, such as ``A/series-1/IM-0004-0048``, and the frame of a multi-frame image: ``-f03``."""
    number: int
    """The last number in the image's name, or its frame."""
    image: Path
    label: Path
    frame: int | None
    """Of the image, from 1, where it has several."""
    segment: int
    segment_frame: int
    """Of the SEG object, from 0."""
    epicardium: None = None

    def load(self) -> LabelledImage:
        """Decode image and segment.

        Raises:
            DicomError: If the image cannot be read as a slice.
            LabelError: If the SEG object cannot be read, or does not fit the image.
        """
        frames = _frames(self.label, self.label.stat().st_mtime_ns)
        return with_mask(
            self, read_slice(self.image, frame=self.frame), frames.mask(self.segment_frame, self.segment)
        )


def index_segmentations(images: Path, labels: Path, *, label: int | None) -> Index[SegmentedSlice]:
    """Pair the ventricle's frames of every SEG object with their images; a :class:`lvseg.data.sources.Source`.

    A frame belongs to the image whose *SOP Instance UID* it names as its source. The ventricle is the segment
    of the number ``label``; else the one whose label, description, type or anatomic region says "left ventric"
    and none says that it is the wall.

    References:
        DICOM PS3.3, C.8.20 "Segmentation"; C.7.6.16.2.6 "Derivation Image Macro".
    """
    image_tree = files_below(images, "--images")
    label_tree = files_below(labels, "--contours") if labels != images else image_tree
    headers = {
        path: _identity(path) for path in dict.fromkeys((*image_tree, *label_tree)) if looks_like_dicom(path)
    }
    segmentations = distinct(path for path in label_tree if path in headers and headers[path].is_segmentation)
    if not segmentations:
        raise DatasetError(
            f"{labels} holds no DICOM SEG objects; expected Segmentation Storage or Label Map Segmentation Storage",
            reason="NO_LABELS",
            field="--contours",
        )
    pictures: dict[str, list[Path]] = {}
    for path in image_tree:
        if path in headers and headers[path].uid and not headers[path].is_segmentation:
            pictures.setdefault(headers[path].uid, []).append(path)
    if not pictures:
        raise DatasetError(f"{images} holds no DICOM images", reason="NO_DICOM", field="--images")
    samples: list[SegmentedSlice] = []
    problems: list[Problem] = []
    empty = 0
    for path in segmentations:
        try:
            frames = _frames(path, path.stat().st_mtime_ns)
            segment = frames.ventricle(label)
        except LabelError as error:
            problems.append(Problem(path, error.reason, str(error)))
            continue
        for position, source in frames.of(segment):
            if not frames.mask(position, segment).any():
                empty += 1
            elif isinstance(found := _image_of(source, pictures, path, position, images), Problem):
                problems.append(found)
            else:
                samples.append(_sample(found, images, path, source.frame, segment, position))
    settled, rivals = settle(samples)
    return Index(settled, (*problems, *rivals), empty)


class _Identity(NamedTuple):
    """What a DICOM file's header says it is; both empty where it is none."""

    kind: str
    uid: str

    @property
    def is_segmentation(self) -> bool:
        return self.kind in {_SEGMENTATION, _LABEL_MAP}


class _Source(NamedTuple):
    """The image that a frame of a SEG object was drawn on."""

    uid: str
    """Empty where the frame names none, or more than one."""
    frame: int | None


def _identity(path: Path) -> _Identity:
    with _without_warnings():
        try:
            header = pydicom.dcmread(
                path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID"]
            )
        except InvalidDicomError:
            return _Identity("", "")
        return _Identity(str(header.get("SOPClassUID", "")), str(header.get("SOPInstanceUID", "")))


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Keep from the user what pydicom warns of: values that only miss the standard, with UIDs and paths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _image_of(
    source: _Source, pictures: dict[str, list[Path]], path: Path, position: int, images: Path
) -> Path | Problem:
    frame = f"{path}: frame {position + 1}"
    if not source.uid:
        return Problem(
            path,
            "NO_REFERENCE",
            f"{frame} does not name the one image that it was drawn on, expected one SourceImageSequence item",
        )
    found = distinct(pictures.get(source.uid, ()))
    if not found:
        return Problem(path, "NO_IMAGE", f"{frame}: the image that it was drawn on is not below {images}")
    return found[0] if len(found) == 1 else two_images(path, found)


def _sample(
    image: Path, images: Path, label: Path, frame: int | None, segment: int, position: int
) -> SegmentedSlice:
    place = Place.of(image, images, (".dcm",))
    patient, name = patient_and_name(image, images, place)
    number = number_of(place.stem) if frame is None else frame
    name = name if frame is None else f"{name}-f{frame:02d}"
    return SegmentedSlice(patient, name, number, image, label, frame, segment, position)


class _Frames:
    """A SEG object in memory."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        self._path = path
        kind = dataset.get("SegmentationType")
        self._is_label_map = kind == "LABELMAP"
        pixels = dataset.pixel_array
        if kind == "FRACTIONAL":
            pixels = 2 * pixels.astype(np.int64) >= int(dataset.MaximumFractionalValue)
        self._pixels: NDArray[np.integer] | NDArray[np.bool_] = pixels.reshape(-1, *pixels.shape[-2:])
        self._is_ventricle = {
            int(segment.SegmentNumber): _is_ventricle(segment) for segment in dataset.SegmentSequence
        }
        shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
        groups = dataset.PerFrameFunctionalGroupsSequence
        self._sources = [_source(_item(own, shared, "DerivationImageSequence")) for own in groups]
        self._segments = [
            None
            if self._is_label_map
            else int(_item(own, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
            for own in groups
        ]
        if len(self._pixels) != len(groups):
            raise ValueError("pixel data and functional groups disagree about the number of frames")

    def ventricle(self, wanted: int | None) -> int:
        """Return the number of the ventricle's segment.

        Raises:
            LabelError: ``NO_SUCH_SEGMENT``, ``WHICH_SEGMENT``.
        """
        listed = ", ".join(map(str, self._is_ventricle))
        if wanted is not None:
            if wanted not in self._is_ventricle:
                raise _segment_error(
                    f"{self._path}: no segment {wanted}, expected one of {listed}", "NO_SUCH_SEGMENT"
                )
            return wanted
        named = [number for number, is_ventricle in self._is_ventricle.items() if is_ventricle]
        if len(named) != 1:
            raise _segment_error(
                f"{self._path}: {len(named)} of its segments say left ventricle and not its wall, expected one; "
                f"choose one of {listed} with --label",
                "WHICH_SEGMENT",
            )
        return named[0]

    def of(self, segment: int) -> Iterator[tuple[int, _Source]]:
        """Yield the frames that may show a segment, from 0, and what each was drawn on."""
        for position, (shown, source) in enumerate(zip(self._segments, self._sources, strict=True)):
            if shown is None or shown == segment:
                yield position, source

    def mask(self, position: int, segment: int) -> NDArray[np.bool_]:
        """Return where a frame marks a segment; at least half, where it says how much."""
        frame = self._pixels[position]
        mask: NDArray[np.bool_] = frame == segment if self._is_label_map else frame != 0
        return mask


@lru_cache(maxsize=2)
def _frames(path: Path, _changed_ns: int) -> _Frames:
    """Read a SEG object; the last ones stay in memory, for their slices come one after the other."""
    try:
        with _without_warnings():
            return _Frames(path, pydicom.dcmread(path))
    except (
        AttributeError,
        KeyError,
        ValueError,
        TypeError,
        RuntimeError,
        NotImplementedError,
        EOFError,
    ) as error:
        raise LabelError(
            f"{path}: cannot be decoded as a DICOM SEG object ({type(error).__name__})",
            reason="NOT_A_SEGMENTATION",
            field="label",
        ) from error


def _item(own: Dataset, shared: Dataset, keyword: str) -> Dataset:
    """Return the one item of a frame's functional group, an empty one where there is none or more."""
    items = own.get(keyword) or shared.get(keyword) or []
    return items[0] if len(items) == 1 else Dataset()


def _source(derivation: Dataset) -> _Source:
    sources = derivation.get("SourceImageSequence") or []
    if len(sources) != 1:
        return _Source("", None)
    frame = sources[0].get("ReferencedFrameNumber")
    return _Source(str(sources[0].get("ReferencedSOPInstanceUID", "")), None if frame is None else int(frame))


def _is_ventricle(segment: Dataset) -> bool:
    codes = ("SegmentedPropertyTypeCodeSequence", "AnatomicRegionSequence")
    words = " ".join(
        (
            str(segment.get("SegmentLabel", "")),
            str(segment.get("SegmentDescription", "")),
            *(str(code.get("CodeMeaning", "")) for keyword in codes for code in segment.get(keyword) or ()),
        )
    ).lower()
    return _VENTRICLE in words and not any(word in words for word in _WALL)


def _segment_error(message: str, reason: str) -> LabelError:
    return LabelError(message, reason=reason, field="--label")
