"""Which slices show the heart full and which contracted, as far as the labels tell."""

from collections.abc import Sequence

from lvseg.data.labelled import LabelledImage
from lvseg.evaluation.results import Phase


def phases(images: Sequence[LabelledImage]) -> list[Phase | None]:
    """Return each slice's phase, by the rule of the Sunnybrook data.

    Its experts contoured two phases of each position, and drew the epicardium at end-diastole alone. So a
    slice with an o-contour is end-diastole, and one without is end-systole if another slice of the same
    patient and position has one. Of all others nothing is known.
    """
    diastolic = [image.sample.epicardium is not None for image in images]
    full = {_place(image) for image, is_full in zip(images, diastolic, strict=True) if is_full} - {None}
    return [
        "ED" if is_full else "ES" if _place(image) in full else None
        for image, is_full in zip(images, diastolic, strict=True)
    ]


def _place(image: LabelledImage) -> tuple[str, float, float, float] | None:
    """Return patient and position, told apart to a tenth of a millimetre; ``None`` where it is unknown."""
    if image.slice.position_mm is None:
        return None
    x, y, z = (round(coordinate, 1) for coordinate in image.slice.position_mm)
    return image.patient, x, y, z
