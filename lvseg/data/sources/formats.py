"""Which kinds of labels there are, and the one way to all of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from rich.progress import Progress

from lvseg.data.labelled import Index, Loaded, Sample, load_all, refuse
from lvseg.data.pairing import LabelledSlice
from lvseg.data.sources.masks import index_masks
from lvseg.data.sources.nifti import index_nifti
from lvseg.data.sources.segmentations import index_segmentations
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.errors import DatasetError, OptionError


class Source(Protocol):
    """Finds the labels of one kind and the images that they belong to; what it finds decodes itself."""

    def __call__(self, images: Path, labels: Path, *, label: int | None) -> Index[Sample]:
        """Return every labelled slice, without regard to how few there are or how many problems.

        Args:
            images: Folder with the images.
            labels: Folder with the labels; may be the same.
            label: Which of several labelled structures is the ventricle.

        Raises:
            DatasetError: If the folders hold no such images or labels, or ``label`` is not among these.
            OptionError: If this kind of label has no use for ``label``, or a package is missing.
            OSError: If a folder or file cannot be read.
        """


def index_contours(images: Path, labels: Path, *, label: int | None) -> Index[LabelledSlice]:
    """Find the Sunnybrook Cardiac Data's i-contours; a :class:`Source`."""
    if label is not None:
        raise OptionError(
            "--label chooses among the structures of a mask, and a contour has none; leave it out or choose "
            "another --label-format",
            reason="INVALID_OPTION",
            field="--label",
        )
    return index_sunnybrook(images, labels)


LABEL_FORMATS: Mapping[str, Source] = {
    "contours": index_contours,
    "masks": index_masks,
    "seg": index_segmentations,
    "nifti": index_nifti,
}


def index_labels(
    images: Path,
    labels: Path,
    label_format: str = "contours",
    *,
    label: int | None = None,
    strict: bool = False,
) -> Index[Sample]:
    """Find the labelled slices of a data set.

    Args:
        images: Folder with the images: NIfTI files for ``nifti``, DICOM files for the others.
        labels: Folder with the labels; may be the same.
        label_format: One of :data:`LABEL_FORMATS`.
        label: The ventricle's value in masks and NIfTI labels, or the number of its segment.
        strict: Refuse the data set if any label is a problem.

    Raises:
        DatasetError: If there is no labelled slice, or, with ``strict``, if there is a problem; or as
            :class:`Source`.
        OptionError: If there is no such format; or as :class:`Source`.
        OSError: If a folder or file cannot be read.
    """
    if label_format not in LABEL_FORMATS:
        known = ", ".join(LABEL_FORMATS)
        raise OptionError(
            f"there is no label format {label_format}; expected one of {known}",
            reason="INVALID_OPTION",
            field="--label-format",
            expected=known,
        )
    index = LABEL_FORMATS[label_format](images, labels, label=label)
    if not index.samples:
        raise _nothing(index, images, labels)
    if strict:
        refuse(index.problems, len(index.samples) + len(index.problems))
    return index


def load_labelled(
    images: Path,
    labels: Path,
    label_format: str = "contours",
    *,
    label: int | None = None,
    progress: Progress | None = None,
    strict: bool = False,
) -> Loaded:
    """Find and decode in one go; arguments, errors and problems are those of the two steps."""
    index = index_labels(images, labels, label_format, label=label, strict=strict)
    loaded = load_all(index.samples, progress, strict=strict)
    return Loaded(loaded.images, (*index.problems, *loaded.problems))


def _nothing(index: Index[Sample], images: Path, labels: Path) -> DatasetError:
    if not index.problems:
        return DatasetError(
            f"no label below {labels} marks anything: all {index.empty} slices are empty; expected pixels "
            "other than 0 in the ventricle",
            reason="NOTHING_LABELLED",
            field="--contours",
        )
    return DatasetError(
        f"none of the {len(index.problems)} labels below {labels} can be used with the images below {images}; "
        f"the first: {index.problems[0].message}",
        reason="NOTHING_MATCHES",
        field="--images",
    )
