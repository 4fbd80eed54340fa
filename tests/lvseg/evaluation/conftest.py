"""Hand-made slices: an expert's square of 10 x 10 pixels, and masks whose figures can be worked out by hand."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lvseg.data.labelled import LabelledImage
from lvseg.data.pairing import LabelledSlice
from lvseg.dicom import Slice
from lvseg.evaluation import Evaluation, SliceResult, judge

MakeImage = Callable[..., LabelledImage]


def box(top: int, left: int, rows: int, columns: int) -> NDArray[np.bool_]:
    """Return a mask of 40 x 40 pixels, True in a box."""
    mask = np.zeros((40, 40), dtype=bool)
    mask[top : top + rows, left : left + columns] = True
    return mask


# Against the expert's square, pixels 10 to 19 both ways, at 1 mm a pixel.
EXACT = box(10, 10, 10, 10)  # Dice 1, APD 0, HD 0
SHIFTED = box(10, 14, 10, 10)  # 4 columns off: Dice 2 x 60 / 200, APD 80 mm / 40 points, HD 4
TWICE = box(10, 10, 10, 20)  # twice as wide: Dice 2 x 100 / 300, APD 200 mm / 60 points, HD 10
FAR = box(10, 30, 10, 10)  # 20 columns off: Dice 0, APD 600 mm / 40 points, HD 20
NOTHING = box(0, 0, 0, 0)


@pytest.fixture
def make_image() -> MakeImage:
    """Return a maker of labelled slices with the expert's square."""
    return labelled_image


def labelled_image(
    patient: str = "SC-A-1",
    number: int = 1,
    *,
    spacing: tuple[float, float] = (1.0, 1.0),
    position: tuple[float, float, float] | None = None,
    epicardium: bool = False,
) -> LabelledImage:
    """Return a slice whose expert's contour goes around the pixels 10 to 19, both ways."""
    folder = Path("none")
    contour = np.array([(9.5, 9.5), (19.5, 9.5), (19.5, 19.5), (9.5, 19.5)])
    return LabelledImage(
        LabelledSlice(
            patient,
            folder / f"IM-0001-{number:04d}.dcm",
            folder / f"IM-0001-{number:04d}-icontour-manual.txt",
            folder / f"IM-0001-{number:04d}-ocontour-manual.txt" if epicardium else None,
        ),
        Slice(
            pixels=np.random.default_rng(number).uniform(0, 500, (40, 40)).astype(np.float32),
            pixel_spacing=spacing,
            position_mm=position,
            orientation=None,
            slice_spacing_mm=None,
            trigger_time_ms=None,
            instance_number=None,
            frame=1,
            sop_instance_uid="",
            series_instance_uid="",
            study_instance_uid="",
            frame_of_reference_uid="",
        ),
        contour,
        EXACT.copy(),
    )


@pytest.fixture
def results() -> list[SliceResult]:
    """Five slices of two patients: one exact, one shifted, one missed; one twice as large, one far off."""
    masks = {"SC-A-9": (EXACT, SHIFTED, NOTHING), "SC-A-10": (TWICE, FAR)}
    return [
        judge(labelled_image(patient, number), mask)
        for patient, found in masks.items()
        for number, mask in enumerate(found, start=1)
    ]


@pytest.fixture
def evaluation(results: list[SliceResult]) -> Evaluation:
    """Return the five slices as an evaluation."""
    return Evaluation.of(results)
