"""Which image each contour was drawn on."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lvseg.contour import contour_to_mask, read_contour
from lvseg.data.files import distinct
from lvseg.data.labelled import Index, LabelledImage, Problem
from lvseg.data.layout import ContourFile, ImageFile, case_order
from lvseg.dicom import read_slice
from lvseg.errors import ContourError


@dataclass(frozen=True)
class LabelledSlice:
    """An image and the expert's contours in it, not yet read."""

    patient: str
    """The case without leading zeros, such as ``SC-HF-I-5``."""
    image: Path
    contour: Path
    """The i-contour: the endocardium, the label of this project."""
    epicardium: Path | None = None
    """The o-contour; the experts drew it at end-diastole only."""

    @property
    def number(self) -> int:
        """The number that image and contour share: (slice index) x (phases a slice) + phase, from 1."""
        return int(self.contour.name.split("-")[2])

    @property
    def name(self) -> str:
        """Patient and number, such as ``SC-HF-I-5/0027``: unique in an index."""
        return f"{self.patient}/{self.number:04d}"

    @property
    def label(self) -> Path:
        """The i-contour."""
        return self.contour

    def load(self) -> LabelledImage:
        """Decode the image and the i-contour.

        Raises:
            DicomError: If the image cannot be read as a slice.
            ContourError: If the contour is malformed, reaches outside the image or encloses no pixel.
        """
        slice_ = read_slice(self.image)
        contour = read_contour(self.contour)
        rows, columns = slice_.pixels.shape
        mask = contour_to_mask(contour, (rows, columns), name=str(self.contour))
        if not mask.any():
            raise ContourError(
                f"{self.contour}: encloses the centre of no pixel, expected one at least",
                reason="EMPTY_MASK",
                field="contour",
            )
        return LabelledImage(self, slice_, contour, mask)


def pair(contours: Iterable[ContourFile], images: Iterable[ImageFile], folder: Path) -> Index[LabelledSlice]:
    """Pair every i-contour with its image: that of its case and number.

    Where several images have them:

    1. Series in folders that are named after the short axis (``CINESAX_300``) win over those that are not.
    2. Where some series has the highest number contoured in the case, a series that is whole (numbered from
       1 without a gap) and ends before it is not the one that the expert drew on: long axis, scouts.
    3. Files with the same content are one image.

    What is still ambiguous is a problem, and never guessed. Contours of one image go by rule 3 alone.

    Args:
        contours: The i- and o-contours.
        images: The images of these contours' cases.
        folder: Where the images were looked for, as the problems shall say.
    """
    contours_of: defaultdict[str | None, list[ContourFile]] = defaultdict(list)
    for contour in contours:
        contours_of[contour.case].append(contour)
    images_of: defaultdict[str, list[ImageFile]] = defaultdict(list)
    for image in images:
        images_of[image.case].append(image)
    problems = [_no_case(contour) for contour in contours_of.pop(None, []) if contour.kind == "i"]
    samples: list[LabelledSlice] = []
    for case in sorted((case for case in contours_of if case), key=case_order):
        found = _pair_case(case, contours_of[case], images_of[case], folder)
        samples += found.samples
        problems += found.problems
    return Index(tuple(samples), tuple(problems))


def _pair_case(
    case: str, contours: Sequence[ContourFile], images: Sequence[ImageFile], folder: Path
) -> Index[LabelledSlice]:
    candidates = _contoured_series(images, max(contour.number for contour in contours))
    samples: list[LabelledSlice] = []
    problems: list[Problem] = []
    for number in sorted({contour.number for contour in contours if contour.kind == "i"}):
        inner, outer = (
            distinct(contour.path for contour in contours if (contour.number, contour.kind) == (number, kind))
            for kind in "io"
        )
        found = distinct(image.path for image in candidates if image.number == number)
        problems += [_two_contours(paths) for paths in (inner, outer) if len(paths) > 1]
        if len(inner) > 1:
            continue
        if len(found) == 1:
            samples.append(LabelledSlice(case, found[0], inner[0], outer[0] if len(outer) == 1 else None))
        elif found:
            problems.append(_two_images(inner[0], found))
        else:
            problems.append(_no_image(inner[0], case, number, has_images=bool(images), folder=folder))
    return Index(tuple(samples), tuple(problems))


def _contoured_series(images: Sequence[ImageFile], highest: int) -> Sequence[ImageFile]:
    """Return the images of the series on which a case's contours may have been drawn (rules 1 and 2)."""
    short_axis = [image for image in images if "SAX" in image.path.parent.name.upper()]
    images = short_axis or images
    numbers_of: defaultdict[tuple[Path, int], set[int]] = defaultdict(set)
    for image in images:
        numbers_of[image.series].add(image.number)
    if not any(highest in numbers for numbers in numbers_of.values()):
        return images
    too_short = {
        series
        for series, numbers in numbers_of.items()
        if max(numbers) < highest and numbers == set(range(1, max(numbers) + 1))
    }
    return [image for image in images if image.series not in too_short]


def _no_case(contour: ContourFile) -> Problem:
    return Problem(
        contour.path,
        "NO_CASE",
        f"{contour.path}: no folder tells its case; expected SC-HF-I-1/contours-manual/IRCCI-expert or the like",
    )


def _no_image(contour: Path, case: str, number: int, *, has_images: bool, folder: Path) -> Problem:
    found = f"no image IM-*-{number:04d}.dcm" if has_images else "no images"
    return Problem(contour, "NO_IMAGE", f"{contour}: {found} of {case} below {folder}")


def _two_images(contour: Path, found: Sequence[Path]) -> Problem:
    named = " and ".join(map(str, found))
    return Problem(
        contour, "TWO_IMAGES", f"{contour}: {len(found)} different images match, keep one: {named}"
    )


def _two_contours(paths: Sequence[Path]) -> Problem:
    named = " and ".join(map(str, paths))
    return Problem(
        paths[0],
        "TWO_CONTOURS",
        f"{paths[0]}: {len(paths)} different contours of one image, keep one: {named}",
    )
