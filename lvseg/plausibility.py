"""Whether a contour that came with a slice looks like one of those that usually go wrong.

A model's mask of the slice is held beside the contour. Where the two differ in size, the image says which of them
is right: on bSSFP cine, blood is bright and the wall around it dark. Where the image sides with the contour, the
mask is what is wrong, and nothing is flagged.
"""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lvseg.contour import Mask, check_mask, check_spacing

LEAST_RADIUS_DIFFERENCE_MM = 3.0
"""Between the radii of two discs with the areas of contour and mask: below it the two are of one size.

Masks of patients that a model had not seen differed by less from 72 of 74 right contours; a wall is thicker.
"""
NESTED_SHARE = 0.9
"""Share of the smaller of contour and mask that lies in the larger, from which on it counts as inside it."""
CONCENTRIC_MM = 3.0
"""The epicardium's centroid is nearer to the cavity's than this; another frame's cavity has moved by more."""
LEAST_OFFSET_MM = 4.5
"""Distance of the centroids from which on the contour is not around this ventricle.

Masks of patients that a model had not seen lay 4.0 mm off right contours at most.
"""
WALL_BELOW_BLOOD = 0.55
"""Share of the blood's brightness, above the air's, below which tissue is wall.

A wall has about 0.3 of it; blood with trabeculae and papillary muscles in it has less than all.
"""
MIXED_EDGE_MM = 1.5
"""Pixels nearer to an edge than this, about one pixel, hold some of what is beyond it, and are not looked at."""
_AIR_PERCENTILE = 1.0


class Flag(StrEnum):
    """What a contour looks like, where it does not look like the cavity of its slice."""

    EPICARDIUM = "epicardium"
    """The wall's outer boundary: around the mask, concentric with it, with wall between them."""
    OTHER_FRAME = "other-frame"
    """The cavity at another time of the heartbeat: too wide, with wall between it and the mask, and off its centre;
    or too narrow, with blood between them."""
    OTHER_PLACE = "other-place"
    """Somewhere else: another slice, another patient, or coordinates of another grid."""


@dataclass(frozen=True)
class Plausibility:
    """What a contour looks like beside a mask of its slice."""

    flags: frozenset[Flag]
    """Empty: like the slice's cavity, or nothing can be said because the mask or the filled contour is empty."""
    offset_mm: tuple[float, float] | None
    """From the mask's centroid to the filled contour's, (x, y), to the right and down on the screen; ``None`` when
    one of them is empty."""


def judge_contour(
    pixels: NDArray[np.float32], mask: Mask, drawn: Mask, pixel_spacing: tuple[float, float]
) -> Plausibility:
    """Return what a contour looks like: at most one flag, as each explains what is seen.

    A slice alone does not tell everything: a neighbouring slice's cavity may look like another frame's, and a
    frame or a slice whose cavity is nearly the same is not flagged. ``docs/benchmarks.md`` has the rates.

    Args:
        pixels: The slice, shape ``(rows, columns)``: the brighter, the higher. Any linear scale of intensities.
        mask: A model's, of the same shape; bool, or integers of which those other than 0 are inside.
        drawn: What the contour encloses, of the same shape: :func:`lvseg.contour.contour_to_mask`.
        pixel_spacing: ``(between rows, between columns)`` in mm.

    Raises:
        ValueError: If a mask is not 2-D, or neither bool nor integer, if the shapes differ, or a spacing is not
            positive.
    """
    spacing = check_spacing(pixel_spacing)
    inside, enclosed = check_mask(mask), check_mask(drawn)
    if not pixels.shape == inside.shape == enclosed.shape:
        raise ValueError(
            f"expected pixels and masks of one shape, got {pixels.shape}, {inside.shape} and {enclosed.shape}"
        )
    if not (inside.any() and enclosed.any()):
        return Plausibility(frozenset(), None)
    offset_mm = _offset_mm(inside, enclosed, spacing)
    flag = _flag(pixels, inside, enclosed, spacing, distance_mm=math.hypot(*offset_mm))
    return Plausibility(frozenset() if flag is None else frozenset({flag}), offset_mm)


def _flag(
    pixels: NDArray[np.float32],
    inside: NDArray[np.bool_],
    drawn: NDArray[np.bool_],
    spacing: tuple[float, float],
    *,
    distance_mm: float,
) -> Flag | None:
    wider_mm = _radius_mm(drawn, spacing) - _radius_mm(inside, spacing)
    smaller = min(np.count_nonzero(inside), np.count_nonzero(drawn))
    nested = np.count_nonzero(inside & drawn) >= NESTED_SHARE * smaller
    too_wide = nested and wider_mm >= LEAST_RADIUS_DIFFERENCE_MM
    if too_wide and _brightness(pixels, drawn, inside, spacing) < WALL_BELOW_BLOOD:
        return Flag.EPICARDIUM if distance_mm < CONCENTRIC_MM else Flag.OTHER_FRAME
    too_narrow = nested and wider_mm <= -LEAST_RADIUS_DIFFERENCE_MM
    if too_narrow and _brightness(pixels, inside, drawn, spacing) >= WALL_BELOW_BLOOD:
        return Flag.OTHER_FRAME
    return Flag.OTHER_PLACE if distance_mm >= LEAST_OFFSET_MM else None


def _brightness(
    pixels: NDArray[np.float32],
    larger: NDArray[np.bool_],
    smaller: NDArray[np.bool_],
    spacing: tuple[float, float],
) -> float:
    """Return how bright it is in the larger outside the smaller: 0 as air, 1 as the blood that is in both."""
    (box,) = ndimage.find_objects((larger | smaller).view(np.uint8))
    to_smaller_mm = ndimage.distance_transform_edt(~smaller[box], sampling=spacing)
    between = larger[box] & (to_smaller_mm > MIXED_EDGE_MM)
    air = np.percentile(pixels, _AIR_PERCENTILE)
    blood = np.median(pixels[larger & smaller])
    if not (between.any() and blood > air):
        return math.nan  # nothing to go by: neither wall nor blood
    return float((np.median(pixels[box][between]) - air) / (blood - air))


def _offset_mm(
    inside: NDArray[np.bool_], drawn: NDArray[np.bool_], spacing: tuple[float, float]
) -> tuple[float, float]:
    between_rows, between_columns = spacing
    (row, column), (drawn_row, drawn_column) = (ndimage.center_of_mass(each) for each in (inside, drawn))
    return float(drawn_column - column) * between_columns, float(drawn_row - row) * between_rows


def _radius_mm(mask: NDArray[np.bool_], spacing: tuple[float, float]) -> float:
    """Return the radius of the disc with a mask's area."""
    return math.sqrt(np.count_nonzero(mask) * spacing[0] * spacing[1] / math.pi)
