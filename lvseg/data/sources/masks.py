"""Mask images (PNG, BMP, TIFF) beside DICOM: ``A/IM-0004-0048.png`` is that of ``A/IM-0004-0048.dcm``."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from lvseg.data.files import files_below, looks_like_dicom
from lvseg.data.labelled import Index, LabelledImage, Problem
from lvseg.data.sources.places import (
    Images,
    Place,
    no_image,
    number_of,
    patient_and_name,
    settle,
    two_images,
)
from lvseg.data.sources.values import check_label, inside, other_than_0, whole_numbers, with_mask
from lvseg.dicom import LARGEST_SIDE, read_slice
from lvseg.errors import DatasetError, LabelError

_ENDINGS = (".png", ".bmp", ".tif", ".tiff")
_ONE_CHANNEL = {"1", "L", "P", "I", "I;16", "I;16B", "I;16L", "F"}
_FORM = "a PNG, BMP or TIFF of one channel and one page"


@dataclass(frozen=True)
class MaskedSlice:
    """A DICOM image and a picture of its mask, not yet read."""

    patient: str
    name: str
    """Patient and path, such as ``A/series-1/IM-0004-0048``."""
    number: int
    """The last number in the file's name."""
    image: Path
    label: Path
    value: int | None
    """Of the ventricle's pixels; ``None`` stands for all that are not 0."""
    epicardium: None = None

    def load(self) -> LabelledImage:
        """Decode image and mask.

        Raises:
            DicomError: If the image cannot be read as a slice.
            LabelError: If the mask cannot be read, or does not fit the image.
        """
        return with_mask(self, read_slice(self.image), inside(read_mask(self.label), self.value))


def index_masks(images: Path, labels: Path, *, label: int | None) -> Index[MaskedSlice]:
    """Pair every mask below ``labels`` with its image; a :class:`lvseg.data.sources.Source`.

    A mask has the name of its DICOM file, but for the ending and perhaps ``_mask``, and lies in a folder of
    the same name, or beside it; :meth:`lvseg.data.sources.places.Images.of` has the rule.
    """
    image_tree = files_below(images, "--images")
    label_tree = files_below(labels, "--contours") if labels != images else image_tree
    drawn = [path for path in label_tree if path.suffix.lower() in _ENDINGS]
    if not drawn:
        raise DatasetError(
            f"{labels} holds no masks; expected {', '.join(_ENDINGS)} files, each named as its DICOM file",
            reason="NO_LABELS",
            field="--contours",
        )
    pictures = [path for path in image_tree if path.suffix.lower() not in _ENDINGS and looks_like_dicom(path)]
    if not pictures:
        raise DatasetError(f"{images} holds no DICOM files", reason="NO_DICOM", field="--images")
    places = {path: Place.of(path, images, (".dcm",)) for path in pictures}
    known = Images(places.items())
    samples: list[MaskedSlice] = []
    problems: list[Problem] = []
    values: dict[Path, frozenset[int]] = {}
    for path in drawn:
        place = Place.of(path, labels, (*_ENDINGS, ".dcm"))
        found = known.of(place) or known.of(place.without_label)
        if len(found) != 1:
            stem = place.without_label.stem
            problems.append(two_images(path, found) if found else no_image(path, f"{stem}.dcm", images))
            continue
        try:
            values[path] = other_than_0(read_mask(path))
        except LabelError as error:
            problems.append(Problem(path, error.reason, str(error)))
            continue
        patient, name = patient_and_name(found[0], images, places[found[0]])
        number = number_of(places[found[0]].stem)
        samples.append(MaskedSlice(patient, name, number, found[0], path, label))
    check_label(values, label)
    settled, rivals = settle(samples)
    marked = tuple(s for s in settled if (values[s.label] if label is None else label in values[s.label]))
    return Index(marked, (*problems, *rivals), len(settled) - len(marked))


def read_mask(path: Path) -> NDArray[np.int64]:
    """Read a mask image: the value of each pixel, of a palette image its index.

    Raises:
        LabelError: ``NOT_AN_IMAGE``, if the file cannot be decoded; ``NOT_A_LABEL``, if it has colours, or
            more than one page, or values that are no whole numbers; ``TOO_LARGE``.
    """
    try:
        with Image.open(path) as picture:
            _check_form(picture, path)
            grey = picture if picture.mode in _ONE_CHANNEL else _grey(picture, path)
            return whole_numbers(np.asarray(grey), path)
    except (UnidentifiedImageError, Image.DecompressionBombError, SyntaxError, ValueError, OSError) as error:
        raise LabelError(
            f"{path}: cannot be decoded as an image, expected {_FORM}",
            reason="NOT_AN_IMAGE",
            field="label",
            expected=_FORM,
        ) from error


def _check_form(picture: Image.Image, path: Path) -> None:
    if max(picture.size) > LARGEST_SIDE:
        raise LabelError(
            f"{path}: {picture.height} x {picture.width} pixels, expected at most {LARGEST_SIDE} a side",
            reason="TOO_LARGE",
            field="label",
        )
    pages = getattr(picture, "n_frames", 1)
    if pages != 1:
        raise LabelError(
            f"{path}: {pages} pages, expected one; write a file for each image",
            reason="NOT_A_LABEL",
            field="label",
            expected=_FORM,
        )


def _grey(picture: Image.Image, path: Path) -> Image.Image:
    """Return the one channel of an image that was stored in colour though it has none."""
    if picture.mode == "RGB":
        red, green, blue = picture.split()
        if red.tobytes() == green.tobytes() == blue.tobytes():
            return red
    raise LabelError(
        f"{path}: found an image of the kind {picture.mode} with more than one channel, expected one; save the "
        "mask as greyscale",
        reason="NOT_A_LABEL",
        field="label",
        expected=_FORM,
    )
