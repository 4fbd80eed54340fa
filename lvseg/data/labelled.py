"""Labelled slices, whatever kind of file their labels come in: found, then decoded."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from lvseg.contour import Points, check_contour, contour_area_mm2, read_contour
from lvseg.dicom import Slice
from lvseg.errors import ContourError, DatasetError, DicomError, LabelError


class Named(Protocol):
    """A labelled slice, decoded or not."""

    @property
    def patient(self) -> str:
        """Whom it shows, such as ``SC-HF-I-5``."""

    @property
    def name(self) -> str:
        """Unique in an index, and the patient's name first: ``SC-HF-I-5/0027``."""


class Sample(Named, Protocol):
    """A slice and its label, found and not yet read."""

    @property
    def number(self) -> int:
        """Orders the slices of a patient."""

    @property
    def image(self) -> Path:
        """The file with the image."""

    @property
    def label(self) -> Path:
        """The file with the label."""

    @property
    def epicardium(self) -> Path | None:
        """A contour of the outer wall, in Sunnybrook's format, where there is one."""

    def load(self) -> "LabelledImage":
        """Decode image and label, without the outer contour.

        Raises:
            DicomError: If the image cannot be read as a slice.
            ContourError: If the label is a contour and cannot be used.
            LabelError: If the label is of another kind and cannot be used.
        """


S = TypeVar("S", bound=Sample, covariant=True)


@dataclass(frozen=True, eq=False)
class LabelledImage:
    """A labelled slice, decoded."""

    sample: Sample
    slice: Slice
    contour: Points
    """Around the ventricle, float64 (N, 2): the expert's, or else the outer boundary of the label's largest
    component."""
    mask: NDArray[np.bool_]
    """Shape (rows, columns) of the slice, True in the ventricle: inside the contour, or the label itself."""
    outer: Points | None = None
    """Around the ventricle's wall, float64 (M, 2), where an expert drew it."""

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


@dataclass(frozen=True)
class Problem:
    """A label that cannot be used, and why."""

    contour: Path
    """The label's file."""
    reason: str
    """A stable word: ``NO_CASE``, ``NO_IMAGE``, ``TWO_IMAGES``, ``TWO_CONTOURS``, ``TWO_LABELS``, or the
    reason of the error that reading the image or the label raised."""
    message: str
    """One line that names the label and says what was found and what was expected."""


@dataclass(frozen=True)
class Index(Generic[S]):
    """What a walk through the folders found."""

    samples: tuple[S, ...]
    """Sorted by patient, then as the source says."""
    problems: tuple[Problem, ...]
    empty: int = 0
    """Slices whose label marks no ventricle: no samples, and no problem."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """The slices of a data set in memory."""

    images: tuple[LabelledImage, ...]
    problems: tuple[Problem, ...]


def load_all(samples: Sequence[Sample], progress: Progress | None = None, *, strict: bool = False) -> Loaded:
    """Decode labelled slices, once, into memory: 0.3 MB for a slice of 256 x 256.

    An outer contour that cannot be used is a problem too, and leaves its slice usable.

    Args:
        samples: What to decode, of any source; the images come out in the same order.
        progress: A started display on which to show how far it is.
        strict: Refuse the data set if any label cannot be used.

    Raises:
        DatasetError: If no slice can be used, or, with ``strict``, if there is a problem.
        OSError: If a file cannot be read.
    """
    images: list[LabelledImage] = []
    problems: list[Problem] = []
    for sample in samples if progress is None else progress.track(samples, description="reading slices"):
        try:
            image = sample.load()
        except (ContourError, LabelError) as error:
            problems.append(Problem(sample.label, error.reason, str(error)))
            continue
        except DicomError as error:
            problems.append(Problem(sample.label, error.reason, f"{sample.label}: its image: {error}"))
            continue
        if sample.epicardium is not None:
            try:
                image = dataclasses.replace(image, outer=_outer(sample.epicardium, image.mask.shape))
            except ContourError as error:
                problems.append(Problem(sample.epicardium, error.reason, str(error)))
        images.append(image)
    if strict or not images:
        refuse(problems, len(samples))
    return Loaded(tuple(images), tuple(problems))


def refuse(problems: Sequence[Problem], total: int) -> None:
    """Refuse a data set of which something cannot be used.

    Raises:
        DatasetError: If there are problems; it has the first one's reason.
    """
    if problems:
        raise DatasetError(
            f"{len(problems)} of {total} labels cannot be used, the first: {problems[0].message}",
            reason=problems[0].reason,
            field="--contours",
        )


def _outer(path: Path, shape: tuple[int, ...]) -> Points:
    rows, columns = shape
    return check_contour(read_contour(path), (rows, columns), name=str(path))
