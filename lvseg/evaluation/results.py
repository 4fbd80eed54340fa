"""One slice: what a model found on it beside what the expert drew."""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np

from lvseg.contour import Mask, contour_to_mask, mask_area_mm2, mask_to_contour
from lvseg.data.labelled import LabelledImage
from lvseg.metrics import compare, dice, hausdorff_distance_mm

Phase: TypeAlias = Literal["ED", "ES"]
"""End-diastole or end-systole."""


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How the pixels that a model found agree with the expert's."""

    dice: float
    """0 to 1; 0 where the ventricle is missed."""
    hausdorff_mm: float | None
    """``None`` where the ventricle is missed."""
    area_mm2: float
    """0 where the ventricle is missed."""
    expert_area_mm2: float
    """Above 0: the expert's pixels, counted as in ``area_mm2``, so that the two compare."""

    @property
    def missed(self) -> bool:
        """Whether the model found nothing at all."""
        return self.area_mm2 == 0

    @property
    def area_error_mm2(self) -> float:
        """Automatic less expert: below 0 where the model finds too little."""
        return self.area_mm2 - self.expert_area_mm2

    @property
    def area_error_percent(self) -> float:
        """``area_error_mm2`` as a share of the expert's area; -100 where the ventricle is missed."""
        return 100.0 * self.area_error_mm2 / self.expert_area_mm2


@dataclass(frozen=True, kw_only=True)
class SliceResult(Overlap):
    """How a model does on one labelled slice, on the slice's own grid: its whole mask beside the whole label."""

    apd_mm: float | None
    """Average perpendicular distance, from the mask's outline to the expert's contour; ``None`` where the
    ventricle is missed."""
    good: bool
    """Whether ``apd_mm`` is below 5 mm; a missed ventricle is never good."""
    outline: Overlap
    """Of the mask's outline alone (the outer boundary of its largest component, filled) beside the expert's
    contour: what can be judged where one contour a slice is asked for, as in the 2009 challenge."""
    phase: Phase | None = None
    """``None`` where the data do not tell."""
    image: LabelledImage = field(repr=False, compare=False)
    """What was segmented; kept for pictures."""
    mask: Mask = field(repr=False, compare=False)
    """What the model found, of the slice's shape; kept for pictures."""

    @property
    def patient(self) -> str:
        """The slice's patient."""
        return self.image.patient

    @property
    def name(self) -> str:
        """The slice's name."""
        return self.image.name


def judge(image: LabelledImage, mask: Mask, *, phase: Phase | None = None) -> SliceResult:
    """Compare a mask with the expert's label of the same slice.

    Args:
        image: The labelled slice.
        mask: Shape ``(rows, columns)`` of the slice; bool, or integers of which those other than 0 are inside.
        phase: When in the heartbeat the slice was taken, where that is known.

    Raises:
        ValueError: If ``mask`` has another shape than the slice, or is neither bool nor integer, or if the
            expert's label holds no pixel.
    """
    if mask.shape != image.mask.shape:
        raise ValueError(f"expected a mask of the slice's shape {image.mask.shape}, got {mask.shape}")
    rows, columns = image.mask.shape
    spacing = image.slice.pixel_spacing
    boundary = mask_to_contour(mask)
    filled = np.zeros_like(image.mask) if boundary is None else contour_to_mask(boundary, (rows, columns))
    # The filled outline has the mask's own outline, and so its average perpendicular distance.
    agreement = compare(filled, image.contour, spacing)
    return SliceResult(
        dice=dice(mask, image.mask),
        hausdorff_mm=hausdorff_distance_mm(mask, image.mask, spacing),
        area_mm2=mask_area_mm2(mask, spacing),
        expert_area_mm2=_expert_area_mm2(image.mask, spacing),
        apd_mm=agreement.apd_mm,
        good=agreement.good,
        outline=Overlap(
            dice=agreement.dice,
            hausdorff_mm=agreement.hausdorff_mm,
            area_mm2=mask_area_mm2(filled, spacing),
            expert_area_mm2=_expert_area_mm2(contour_to_mask(image.contour, (rows, columns)), spacing),
        ),
        phase=phase,
        image=image,
        mask=mask,
    )


def _expert_area_mm2(mask: Mask, pixel_spacing: tuple[float, float]) -> float:
    area_mm2 = mask_area_mm2(mask, pixel_spacing)
    if area_mm2 == 0:
        raise ValueError("expected an expert's label that holds a pixel at least, got an empty one")
    return area_mm2
