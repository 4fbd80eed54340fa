"""The Sunnybrook Cardiac Data, indexed and decoded: every expert's i-contour with its image.

Both layouts are found by walking the folders (:mod:`lvseg.data.layout` describes them).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from lvseg.contour import Points, contour_area_mm2, contour_to_mask, read_contour
from lvseg.data.files import looks_like_dicom, walk_files
from lvseg.data.layout import PATIENT_TABLE, contour_files, image_files, patient_table
from lvseg.data.pairing import Index, LabelledSlice, Problem, pair
from lvseg.dicom import Slice, read_slice
from lvseg.errors import ContourError, DatasetError, DicomError

__all__ = [
    "Index",
    "LabelledImage",
    "LabelledSlice",
    "Loaded",
    "Problem",
    "index_sunnybrook",
    "load",
    "load_all",
    "load_sunnybrook",
]


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """A labelled slice, decoded."""

    sample: LabelledSlice
    slice: Slice
    contour: Points
    """The i-contour, float64 (N, 2)."""
    mask: NDArray[np.bool_]
    """Shape (rows, columns) of the slice, True inside the contour."""

    @property
    def patient(self) -> str:
        """The sample's patient."""
        return self.sample.patient

    @property
    def name(self) -> str:
        """The sample's name."""
        return self.sample.name

    @property
    def share(self) -> float:
        """Share of the slice's pixels that the left ventricle covers, 0 to 1."""
        return float(self.mask.mean())

    @property
    def area_mm2(self) -> float:
        """Area inside the contour in mm²."""
        return contour_area_mm2(self.contour, self.slice.pixel_spacing)


@dataclass(frozen=True, eq=False)
class Loaded:
    """The slices of a data set in memory."""

    images: tuple[LabelledImage, ...]
    problems: tuple[Problem, ...]


def index_sunnybrook(images: Path, contours: Path, *, strict: bool = False) -> Index:
    """Pair every i-contour below ``contours`` with its image below ``images``.

    Either folder may be the data set as a whole, a part of it, or one patient's own; both may be the same.
    :func:`lvseg.data.pairing.pair` has the rules for contours with several candidates.

    Args:
        images: Folder with the images, in either layout.
        contours: Folder with the contours, in either layout.
        strict: Refuse the data set if any contour is a problem.

    Raises:
        DatasetError: If a folder does not exist, holds no images or no contours, if no contour has an
            image, or, with ``strict``, if one has none or more than one.
        OSError: If a folder or file cannot be read.
    """
    image_tree = _files(images, "images")
    contour_tree = _files(contours, "contours") if contours != images else image_tree
    drawn = contour_files(contour_tree)
    if not any(contour.kind == "i" for contour in drawn):
        raise DatasetError(
            f"{contours} holds no contours; expected <case>/contours-manual/IRCCI-expert/"
            "IM-0001-<number>-icontour-manual.txt somewhere below it",
            reason="NO_CONTOURS",
            field="--contours",
        )
    if not any(looks_like_dicom(path) for path in image_tree):
        raise DatasetError(
            f"{images} holds no DICOM files; expected IM-<series>-<number>.dcm in folders named after a case "
            "or a patient somewhere below it",
            reason="NO_DICOM",
            field="--images",
        )
    table = patient_table((images, contours), (*image_tree, *contour_tree))
    pictures = image_files(image_tree, {contour.case for contour in drawn if contour.case}, table)
    index = pair(drawn, pictures, images)
    if not index.samples:
        raise _nothing_matches(index.problems, images, contours)
    if strict:
        _refuse(index.problems, len(index.samples) + len(index.problems))
    return index


def load(sample: LabelledSlice) -> LabelledImage:
    """Decode a labelled slice.

    Raises:
        DicomError: If the image cannot be read as a slice.
        ContourError: If the contour is malformed, reaches outside the image or encloses no pixel.
    """
    slice_ = read_slice(sample.image)
    contour = read_contour(sample.contour)
    rows, columns = slice_.pixels.shape
    mask = contour_to_mask(contour, (rows, columns), name=str(sample.contour))
    if not mask.any():
        raise ContourError(
            f"{sample.contour}: encloses the centre of no pixel, expected one at least",
            reason="EMPTY_MASK",
            field="contour",
        )
    return LabelledImage(sample, slice_, contour, mask)


def load_all(
    samples: Sequence[LabelledSlice], progress: Progress | None = None, *, strict: bool = False
) -> Loaded:
    """Decode labelled slices, once, into memory: 0.3 MB for a slice of 256 x 256.

    Args:
        samples: What to decode; the images come out in the same order.
        progress: A started display on which to show how far it is.
        strict: Refuse the data set if any slice cannot be used.

    Raises:
        DatasetError: If no slice can be used, or, with ``strict``, if one cannot.
        OSError: If a file cannot be read.
    """
    images: list[LabelledImage] = []
    problems: list[Problem] = []
    for sample in samples if progress is None else progress.track(samples, description="reading slices"):
        try:
            images.append(load(sample))
        except ContourError as error:
            problems.append(Problem(sample.contour, error.reason, str(error)))
        except DicomError as error:
            problems.append(Problem(sample.contour, error.reason, f"{sample.contour}: its image: {error}"))
    if strict or not images:
        _refuse(problems, len(samples))
    return Loaded(tuple(images), tuple(problems))


def load_sunnybrook(
    images: Path, contours: Path, progress: Progress | None = None, *, strict: bool = False
) -> Loaded:
    """Index and decode in one go; arguments and errors are those of the two, and so are the problems."""
    index = index_sunnybrook(images, contours, strict=strict)
    loaded = load_all(index.samples, progress, strict=strict)
    return Loaded(loaded.images, (*index.problems, *loaded.problems))


def _files(folder: Path, what: str) -> tuple[Path, ...]:
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: no such folder; --{what} names the folder that holds the {what}",
            reason="NO_SUCH_FOLDER",
            field=f"--{what}",
        )
    return tuple(walk_files(folder))


def _nothing_matches(problems: Sequence[Problem], images: Path, contours: Path) -> DatasetError:
    first = problems[0].message
    return DatasetError(
        f"none of the {len(problems)} contours below {contours} matches one image below {images}; expected "
        f"images IM-<series>-<number>.dcm in a folder named after the contour's case, or, where folders are "
        f"named like SCD0000101, the table {PATIENT_TABLE} beside them. The first: {first}",
        reason="NOTHING_MATCHES",
        field="--images",
    )


def _refuse(problems: Sequence[Problem], total: int) -> None:
    if problems:
        raise DatasetError(
            f"{len(problems)} of {total} contours cannot be used, the first: {problems[0].message}",
            reason=problems[0].reason,
            field="--contours",
        )
