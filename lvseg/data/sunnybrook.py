"""The Sunnybrook Cardiac Data, indexed and decoded: every expert's i-contour with its image.

Both layouts are found by walking the folders (:mod:`lvseg.data.layout` describes them).
"""

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from lvseg.data.files import files_below, looks_like_dicom
from lvseg.data.labelled import Index, LabelledImage, Loaded, Problem, Sample, load_all, refuse
from lvseg.data.layout import PATIENT_TABLE, contour_files, image_files, patient_table
from lvseg.data.pairing import LabelledSlice, pair
from lvseg.errors import DatasetError

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


def index_sunnybrook(images: Path, contours: Path, *, strict: bool = False) -> Index[LabelledSlice]:
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
    image_tree = files_below(images, "--images")
    contour_tree = files_below(contours, "--contours") if contours != images else image_tree
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
        refuse(index.problems, len(index.samples) + len(index.problems))
    return index


def load(sample: Sample) -> LabelledImage:
    """Decode a labelled slice; the errors are those of its :meth:`Sample.load`."""
    return sample.load()


def load_sunnybrook(
    images: Path, contours: Path, progress: Progress | None = None, *, strict: bool = False
) -> Loaded:
    """Index and decode in one go; arguments and errors are those of the two, and so are the problems."""
    index = index_sunnybrook(images, contours, strict=strict)
    loaded = load_all(index.samples, progress, strict=strict)
    return Loaded(loaded.images, (*index.problems, *loaded.problems))


def _nothing_matches(problems: Sequence[Problem], images: Path, contours: Path) -> DatasetError:
    first = problems[0].message
    return DatasetError(
        f"none of the {len(problems)} contours below {contours} matches one image below {images}; expected "
        f"images IM-<series>-<number>.dcm in a folder named after the contour's case, or, where folders are "
        f"named like SCD0000101, the table {PATIENT_TABLE} beside them. The first: {first}",
        reason="NOTHING_MATCHES",
        field="--images",
    )
