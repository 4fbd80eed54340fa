"""How well a mask agrees with an expert: the measures of the 2009 challenge, in mm where they have a unit.

References:
    Radau P, Lu Y, Connelly K, Paul G, Dick AJ, Wright GA, "Evaluation Framework for Algorithms Segmenting
    Short Axis Cardiac MRI", The MIDAS Journal, 2009, https://doi.org/10.54294/g80ruo
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, spatial

from lvseg.contour import (
    Mask,
    Points,
    check_mask,
    check_points,
    check_spacing,
    contour_to_mask,
    mask_to_contour,
)
from lvseg.errors import ContourError

GOOD_CONTOUR_APD_MM = 5.0
"""A contour is good when its average perpendicular distance is below this (Radau et al., 2009)."""

_DISTANCES_AT_ONCE = 500_000


@dataclass(frozen=True)
class Agreement:
    """How a mask agrees with an expert's contour of the same slice."""

    dice: float
    """Between the mask and the contour's: 0 (no overlap) to 1 (the same pixels)."""
    apd_mm: float | None
    """Average perpendicular distance of the mask's outer boundary; ``None`` when the mask is empty."""
    hausdorff_mm: float | None
    """Between the edges of the two masks; ``None`` when one of them is empty."""
    good: bool
    """Whether ``apd_mm`` is below ``GOOD_CONTOUR_APD_MM``; an empty mask is never good."""


def compare(mask: Mask, contour: ArrayLike, pixel_spacing: tuple[float, float]) -> Agreement:
    """Return how a mask agrees with an expert's contour of the same slice.

    Dice and the Hausdorff distance take the whole mask, the average perpendicular distance the outer
    boundary of its largest component.

    Args:
        mask: Shape ``(rows, columns)`` of the slice; bool, or integers of which those other than 0 are inside.
        contour: The expert's, ``(x, y)`` = ``(column, row)`` in pixels of the slice, shape ``(N, 2)``.
        pixel_spacing: ``(between rows, between columns)`` in mm.

    Raises:
        ContourError: If the contour is none, or not inside the slice.
        ValueError: If ``mask`` is not 2-D, or neither bool nor integer, or a spacing is not positive.
    """
    inside = check_mask(mask)
    rows, columns = inside.shape
    return _agreement(inside, contour_to_mask(contour, (rows, columns)), contour, pixel_spacing)


def compare_masks(mask: Mask, reference: Mask, pixel_spacing: tuple[float, float]) -> Agreement:
    """Return how a mask agrees with an expert's mask of the same slice.

    As :func:`compare`; the expert's contour is the outer boundary of the largest component of ``reference``.

    Args:
        mask: Shape ``(rows, columns)`` of the slice; bool, or integers of which those other than 0 are inside.
        reference: The expert's, of the same shape.
        pixel_spacing: ``(between rows, between columns)`` in mm.

    Raises:
        ContourError: If ``reference`` is empty.
        ValueError: If the masks differ in shape, are not 2-D, or are neither bool nor integer, or if a spacing
            is not positive.
    """
    inside, expected = _pair(mask, reference)
    contour = mask_to_contour(expected)
    if contour is None:
        raise ContourError(
            "the mask to compare with is empty; leave it out where there is nothing to compare with",
            reason="EMPTY_MASK",
            field="contour",
            expected="a mask with at least one pixel inside",
        )
    return _agreement(inside, expected, contour, pixel_spacing)


def _agreement(
    inside: NDArray[np.bool_],
    expected: NDArray[np.bool_],
    contour: ArrayLike,
    pixel_spacing: tuple[float, float],
) -> Agreement:
    boundary = mask_to_contour(inside)
    apd_mm = None
    if boundary is not None:
        apd_mm = average_perpendicular_distance_mm(boundary, contour, pixel_spacing)
    return Agreement(
        dice=dice(inside, expected),
        apd_mm=apd_mm,
        hausdorff_mm=hausdorff_distance_mm(inside, expected, pixel_spacing),
        good=apd_mm is not None and apd_mm < GOOD_CONTOUR_APD_MM,
    )


def dice(mask: Mask, reference: Mask) -> float:
    """Return the Dice coefficient of two masks: twice the pixels in both, over the sum of the pixels in each.

    Two empty masks agree in full: 1. One empty mask and one that is not: 0.

    Raises:
        ValueError: If the masks differ in shape, are not 2-D, or are neither bool nor integer.

    Example:
        >>> dice(np.array([[1, 1, 0]]), np.array([[0, 1, 0]]))
        0.6666666666666666
    """
    inside, expected = _pair(mask, reference)
    total = int(np.count_nonzero(inside)) + int(np.count_nonzero(expected))
    return 2 * int(np.count_nonzero(inside & expected)) / total if total else 1.0


def average_perpendicular_distance_mm(
    automatic: ArrayLike, manual: ArrayLike, pixel_spacing: tuple[float, float]
) -> float:
    """Return the average distance, in mm, from the points of one contour to the polygon of another.

    From each point of ``automatic`` to the nearest point of the closed polygon ``manual``, be that on a side
    or at a corner; the mean over the points. Not symmetric: the expert's contour is the second.

    Args:
        automatic: ``(x, y)`` = ``(column, row)`` in pixels, shape ``(N, 2)``.
        manual: The expert's, in the same pixels, shape ``(M, 2)``.
        pixel_spacing: ``(between rows, between columns)`` in mm; the first scales y, the second x.

    Raises:
        ContourError: If one of the two is not a contour.
        ValueError: If a spacing is not positive.

    References:
        Radau et al., 2009 (above), "average perpendicular distance".
    """
    between_rows, between_columns = check_spacing(pixel_spacing)
    scale = np.array((between_columns, between_rows))
    points = check_points(automatic, name="automatic contour") * scale
    starts = check_points(manual, name="manual contour") * scale
    sides = np.roll(starts, -1, axis=0) - starts
    at_once = max(1, _DISTANCES_AT_ONCE // len(starts))
    blocks = [points[first : first + at_once] for first in range(0, len(points), at_once)]
    return float(np.concatenate([_distances(block, starts, sides) for block in blocks]).mean())


def hausdorff_distance_mm(mask: Mask, reference: Mask, pixel_spacing: tuple[float, float]) -> float | None:
    """Return the Hausdorff distance between the edges of two masks, in mm, or ``None`` when one is empty.

    Each edge pixel of either mask has a nearest edge pixel of the other, centre to centre; this is the
    largest of these distances. An edge pixel has one of its four neighbours outside the mask or the image.

    Args:
        mask: Shape ``(rows, columns)``; bool, or integers of which those other than 0 are inside.
        reference: Of the same shape.
        pixel_spacing: ``(between rows, between columns)`` in mm.

    Raises:
        ValueError: If the masks differ in shape, are not 2-D, or are neither bool nor integer, or if a
            spacing is not positive.
    """
    spacing = check_spacing(pixel_spacing)
    inside, expected = _pair(mask, reference)
    if not (inside.any() and expected.any()):
        return None
    edge, expected_edge = (_edge_pixels(pixels) * spacing for pixels in (inside, expected))
    there, _ = spatial.cKDTree(expected_edge).query(edge)
    back, _ = spatial.cKDTree(edge).query(expected_edge)
    return float(max(there.max(), back.max()))


def _pair(mask: Mask, reference: Mask) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    inside, expected = check_mask(mask), check_mask(reference)
    if inside.shape != expected.shape:
        raise ValueError(f"expected two masks of one shape, got {inside.shape} and {expected.shape}")
    return inside, expected


def _edge_pixels(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the (row, column) of a mask's edge pixels, shape ``(edge pixels, 2)``."""
    return np.argwhere(mask & ~ndimage.binary_erosion(mask))


def _distances(points: Points, starts: Points, sides: Points) -> NDArray[np.float64]:
    """Return the distance from each point to the nearest of the sides ``starts`` to ``starts + sides``."""
    offsets = points[:, np.newaxis] - starts  # (points, sides, 2)
    squared_length = (sides**2).sum(axis=1)  # 0 where a point is repeated: then the start is the nearest
    along = (offsets * sides).sum(axis=2) / np.where(squared_length > 0, squared_length, 1.0)
    nearest = np.clip(along, 0.0, 1.0)[..., np.newaxis] * sides
    distances: NDArray[np.float64] = np.sqrt(((offsets - nearest) ** 2).sum(axis=2)).min(axis=1)
    return distances
