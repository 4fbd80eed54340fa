"""Agreement measures: values by hand, and MONAI's."""

import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance
from numpy.typing import NDArray
from scipy import ndimage

from lvseg.contour import Points, contour_to_mask, mask_to_contour
from lvseg.errors import ContourError
from lvseg.metrics import (
    average_perpendicular_distance_mm,
    compare,
    compare_masks,
    dice,
    hausdorff_distance_mm,
)

BLANK = np.zeros((40, 40), dtype=bool)


def box(top: int, left: int, rows: int, columns: int) -> NDArray[np.bool_]:
    mask = BLANK.copy()
    mask[top : top + rows, left : left + columns] = True
    return mask


def square(centre: float, half: float) -> Points:
    low, high = centre - half, centre + half
    return np.array([(low, low), (high, low), (high, high), (low, high)])


def circle(radius: float, centre: tuple[float, float] = (60.0, 60.0), points: int = 720) -> Points:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return np.array(centre) + radius * np.column_stack((np.cos(angle), np.sin(angle)))


def blobs(seed: int) -> NDArray[np.bool_]:
    """Several components, holes, some at the image's edge."""
    noise = np.random.default_rng(seed).normal(size=(48, 56))
    return ndimage.gaussian_filter(noise, 2.5) > 0.06


def monai(mask: NDArray[np.bool_]) -> torch.Tensor:
    return torch.from_numpy(mask)[None, None].float()


# Dice


def test_dice_is_twice_the_common_pixels_over_the_pixels_of_both() -> None:
    # Two squares of 10 x 10, one 4 columns to the right: 60 pixels in common.
    assert dice(box(5, 5, 10, 10), box(5, 9, 10, 10)) == 2 * 60 / 200


def test_the_same_mask_has_dice_1() -> None:
    assert dice(box(5, 5, 3, 3), box(5, 5, 3, 3)) == 1.0


def test_masks_apart_have_dice_0() -> None:
    assert dice(box(5, 5, 3, 3), box(20, 20, 3, 3)) == 0.0


def test_two_empty_masks_have_dice_1() -> None:
    assert dice(BLANK, BLANK) == 1.0


def test_one_empty_mask_has_dice_0() -> None:
    assert dice(BLANK, box(5, 5, 3, 3)) == 0.0
    assert dice(box(5, 5, 3, 3), BLANK) == 0.0


def test_any_integer_but_0_is_inside() -> None:
    assert dice(box(5, 5, 3, 3).astype(np.uint8) * 255, box(5, 5, 3, 3)) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_dice_is_monais(seed: int) -> None:
    mask, reference = blobs(seed), blobs(seed + 100)
    expected = compute_dice(monai(mask), monai(reference), include_background=True).item()
    assert dice(mask, reference) == pytest.approx(expected, rel=1e-6)


def test_masks_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="masks of one shape"):
        dice(np.ones((2, 3), dtype=bool), np.ones((3, 2), dtype=bool))


def test_a_probability_is_no_mask() -> None:
    with pytest.raises(ValueError, match="bool or integers"):
        dice(np.full((2, 2), 0.3), np.ones((2, 2), dtype=bool))  # type: ignore[arg-type]


# Average perpendicular distance


def test_apd_of_a_square_inside_a_square_is_the_gap() -> None:
    # Each corner of the inner one is 2 pixels from the nearest side of the outer one.
    assert average_perpendicular_distance_mm(square(20, 3), square(20, 5), (1.0, 1.0)) == 2.0


def test_apd_is_measured_from_the_automatic_contour_to_the_manual_one() -> None:
    # The outer corners are nearest to the inner corners, along the diagonal.
    apd = average_perpendicular_distance_mm(square(20, 5), square(20, 3), (1.0, 1.0))
    assert apd == pytest.approx(2 * np.sqrt(2))


def test_apd_of_concentric_circles_is_the_difference_of_their_radii() -> None:
    # The polygon of 720 points is at most 35 (1 - cos 0.25 degrees) = 0.0004 inside its circle.
    apd = average_perpendicular_distance_mm(circle(30), circle(35), (1.5, 1.5))
    assert apd == pytest.approx(1.5 * 5, abs=1e-3)


def test_apd_of_a_circle_moved_by_a_little_is_two_over_pi_of_the_move() -> None:
    # To first order the distance is the move along the normal: the mean of |d cos t| is 2 d / pi.
    apd = average_perpendicular_distance_mm(circle(40, (60.1, 60)), circle(40), (1.0, 1.0))
    assert apd == pytest.approx(0.1 * 2 / np.pi, rel=1e-2)


def test_apd_counts_the_distance_to_sides_not_to_corners() -> None:
    automatic = [(50, 1), (51, 2), (49, 2)]  # 1, 2 and 2 pixels from the upper side
    manual = [(0, 0), (100, 0), (50, 90)]
    assert average_perpendicular_distance_mm(automatic, manual, (1.0, 1.0)) == (1 + 2 + 2) / 3


def test_apd_counts_the_side_that_closes_the_polygon() -> None:
    manual = [(30, 0), (30, 30), (0, 30), (0, 0)]  # the upper side leads from the last point to the first
    assert average_perpendicular_distance_mm([(14, 1), (15, 1), (15, 4)], manual, (1.0, 1.0)) == 2.0


def test_apd_beyond_the_end_of_a_side_is_the_distance_to_the_corner() -> None:
    automatic = [(-3, -4), (-4, -3), (-6, -8)]
    assert average_perpendicular_distance_mm(automatic, square(5, 5), (1.0, 1.0)) == (5 + 5 + 10) / 3


@pytest.mark.parametrize(("spacing", "expected"), [((1.0, 2.5), 5.0), ((2.5, 1.0), 2.0)])
def test_apd_scales_x_by_the_spacing_between_columns(spacing: tuple[float, float], expected: float) -> None:
    tower = [(0, -90), (10, -90), (10, 90), (0, 90)]
    automatic = [(12, 4), (12, 6), (8, 5)]  # each 2 columns off the right side, far from all others
    assert average_perpendicular_distance_mm(automatic, tower, spacing) == expected


@pytest.mark.parametrize(("spacing", "expected"), [((1.0, 2.5), 2.0), ((2.5, 1.0), 5.0)])
def test_apd_scales_y_by_the_spacing_between_rows(spacing: tuple[float, float], expected: float) -> None:
    beam = [(-90, 0), (90, 0), (90, 10), (-90, 10)]
    automatic = [(4, 12), (6, 12), (5, 8)]
    assert average_perpendicular_distance_mm(automatic, beam, spacing) == expected


def test_apd_of_a_contour_to_itself_is_0() -> None:
    assert average_perpendicular_distance_mm(circle(30), circle(30), (1.3, 0.7)) == pytest.approx(0, abs=1e-9)


def test_apd_is_the_same_when_the_manual_contour_repeats_its_first_point() -> None:
    manual = square(20, 5)
    repeated = np.vstack((manual, manual[:1]))
    assert average_perpendicular_distance_mm(square(20, 3), repeated, (1.0, 1.0)) == 2.0


def test_apd_of_long_contours_is_that_of_their_points_taken_alone() -> None:
    automatic, manual = circle(30, points=3001), circle(33, (61, 59), points=997)
    expected = np.mean([apd_of_one(point, manual) for point in automatic[::250]])
    few = average_perpendicular_distance_mm(automatic[::250], manual, (1.0, 1.0))
    assert few == pytest.approx(expected)
    parts = [average_perpendicular_distance_mm(automatic[i::3], manual, (1.0, 1.0)) for i in range(3)]
    sizes = [len(automatic[i::3]) for i in range(3)]
    whole = average_perpendicular_distance_mm(automatic, manual, (1.0, 1.0))
    assert whole == pytest.approx(np.average(parts, weights=sizes))


def apd_of_one(point: Points, manual: Points) -> float:
    """The distance to a polygon's nearest point, from each side densely sampled."""
    fractions = np.linspace(0, 1, 1001)[:, np.newaxis, np.newaxis]
    samples = manual + fractions * (np.roll(manual, -1, axis=0) - manual)
    return float(np.hypot(*np.moveaxis(samples - point, -1, 0)).min())


# Hausdorff distance


@pytest.mark.parametrize(
    ("spacing", "expected"), [((1.0, 1.0), 5.0), ((2.0, 1.0), np.hypot(6, 4)), ((1.0, 2.0), np.hypot(3, 8))]
)
def test_hausdorff_of_a_box_moved_is_the_move(spacing: tuple[float, float], expected: float) -> None:
    # 3 rows down, 4 columns right: the upper left corner of the one is nearest to that of the other.
    distance = hausdorff_distance_mm(box(5, 5, 9, 9), box(8, 9, 9, 9), spacing)
    assert distance == pytest.approx(expected)


def test_hausdorff_takes_the_farther_of_the_two_directions() -> None:
    # Every pixel of the small box is in the large one; the large one's far side is 10 columns away.
    small, large = box(5, 5, 3, 3), box(5, 5, 3, 13)
    assert hausdorff_distance_mm(small, large, (1.0, 1.0)) == 10.0
    assert hausdorff_distance_mm(large, small, (1.0, 1.0)) == 10.0


def test_hausdorff_is_between_the_edges_not_the_areas() -> None:
    # A box with a hole of one pixel: the hole's four neighbours are edge, 3 pixels from the box's.
    holed = box(5, 5, 9, 9)
    holed[9, 9] = False
    assert hausdorff_distance_mm(box(5, 5, 9, 9), holed, (1.0, 1.0)) == 3.0


def test_hausdorff_of_the_same_mask_is_0() -> None:
    assert hausdorff_distance_mm(box(5, 5, 9, 9), box(5, 5, 9, 9), (1.0, 1.0)) == 0.0


@pytest.mark.parametrize(
    ("one", "other"), [(BLANK, box(5, 5, 3, 3)), (box(5, 5, 3, 3), BLANK), (BLANK, BLANK)]
)
def test_hausdorff_of_an_empty_mask_is_none(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> None:
    assert hausdorff_distance_mm(one, other, (1.0, 1.0)) is None


@pytest.mark.filterwarnings(
    "ignore:.*always_return_as_numpy:FutureWarning"
)  # MONAI's call of its own function
@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.3672, 1.3672), (0.7, 2.5), (3.0, 0.9)])
@pytest.mark.parametrize("seed", range(5))
def test_hausdorff_is_monais(seed: int, spacing: tuple[float, float]) -> None:
    mask, reference = blobs(seed), blobs(seed + 100)
    expected = compute_hausdorff_distance(
        monai(mask),
        monai(reference),
        include_background=True,
        percentile=None,
        directed=False,
        spacing=spacing,
    ).item()
    assert hausdorff_distance_mm(mask, reference, spacing) == pytest.approx(expected, rel=1e-6)


# Agreement


def test_a_mask_that_is_the_contours_own_agrees() -> None:
    contour = circle(15, (40, 30), points=200)
    agreement = compare(contour_to_mask(contour, (64, 80)), contour, (1.5, 1.5))
    assert (agreement.dice, agreement.hausdorff_mm, agreement.good) == (1.0, 0.0, True)
    assert agreement.apd_mm is not None
    assert agreement.apd_mm < 0.5 * 1.5


def test_each_measure_of_an_agreement_is_the_one_of_its_name() -> None:
    mask, contour, spacing = box(8, 9, 12, 11), circle(7, (14, 15), points=90), (1.2, 1.8)
    reference, boundary = contour_to_mask(contour, mask.shape), mask_to_contour(mask)
    assert boundary is not None
    agreement = compare(mask, contour, spacing)
    assert agreement.dice == dice(mask, reference)
    assert agreement.apd_mm == average_perpendicular_distance_mm(boundary, contour, spacing)
    assert agreement.hausdorff_mm == hausdorff_distance_mm(mask, reference, spacing)


@pytest.mark.parametrize(("spacing", "good"), [((2.0, 2.0), False), ((1.99, 1.99), True)])
def test_a_contour_is_good_below_an_apd_of_5_mm(spacing: tuple[float, float], good: bool) -> None:
    # Pixels 10 to 19 have their boundary at 9.5 and 19.5, everywhere 2.5 pixels from this square.
    agreement = compare(box(10, 10, 10, 10), square(14.5, 7.5), spacing)
    assert agreement.apd_mm == pytest.approx(2.5 * spacing[0])
    assert agreement.good is good


def test_an_empty_mask_has_no_distances_and_is_not_good() -> None:
    agreement = compare(BLANK, square(14.5, 7.5), (1.0, 1.0))
    assert (agreement.dice, agreement.apd_mm, agreement.hausdorff_mm, agreement.good) == (
        0.0,
        None,
        None,
        False,
    )


def test_a_mask_with_a_very_long_boundary_is_compared_too() -> None:
    comb = np.zeros((201, 200), dtype=bool)
    comb[:, ::2] = True
    comb[100] = True  # its boundary has some 40 000 points
    assert compare(comb, square(100, 20), (1.0, 1.0)).dice == pytest.approx(0.1, abs=0.05)


def test_a_contour_of_another_slice_is_refused() -> None:
    with pytest.raises(ContourError) as caught:
        compare(BLANK, square(60, 5), (1.0, 1.0))
    assert caught.value.reason == "OUTSIDE_IMAGE"


def test_a_mask_agrees_with_an_experts_mask_as_with_its_contour() -> None:
    mask, reference = (np.zeros((32, 32), dtype=bool) for _ in range(2))
    mask[8:20, 8:20] = reference[10:22, 8:20] = True
    contour = mask_to_contour(reference)
    assert contour is not None
    assert compare_masks(mask, reference, (1.5, 1.25)) == compare(mask, contour, (1.5, 1.25))


def test_every_pixel_of_an_experts_mask_counts_and_not_only_its_outline() -> None:
    mask = np.zeros((32, 32), dtype=bool)
    mask[8:20, 8:20] = True
    reference = mask.copy()
    reference[10:14, 10:14] = False  # a hole of 16 of 144 pixels: Dice 2 x 128 / (144 + 128)
    assert compare_masks(mask, reference, (1.0, 1.0)).dice == pytest.approx(256 / 272)


def test_an_empty_mask_of_an_expert_is_refused() -> None:
    empty = np.zeros((4, 4), dtype=bool)
    with pytest.raises(ContourError) as caught:
        compare_masks(~empty, empty, (1.0, 1.0))
    assert caught.value.reason == "EMPTY_MASK"
