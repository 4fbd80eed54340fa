"""What a contour looks like beside a mask, on discs: air 0, blood 1000, a wall of 300 and tissue of 600 around it."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lvseg.contour import Points, contour_to_mask
from lvseg.data.sunnybrook import index_sunnybrook, load_all
from lvseg.plausibility import Flag, Plausibility, judge_contour

SPACING = (1.0, 1.25)
SHAPE = (128, 112)  # 128 mm down, 140 mm across
CENTRE_MM = (70.0, 64.0)  # (x, y)


def disc(radius_mm: float) -> NDArray[np.bool_]:
    rows, columns = np.indices(SHAPE)
    return np.hypot(columns * SPACING[1] - CENTRE_MM[0], rows * SPACING[0] - CENTRE_MM[1]) <= radius_mm


def heart(*, cavity_mm: float = 20.0, wall_mm: float = 8.0) -> NDArray[np.float32]:
    pixels = np.where(disc(60.0), 600.0, 0.0)
    pixels[disc(cavity_mm + wall_mm)] = 300.0
    pixels[disc(cavity_mm)] = 1000.0
    return pixels.astype(np.float32)


def circle(radius_mm: float, *, right_mm: float = 0.0, down_mm: float = 0.0) -> Points:
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    x = CENTRE_MM[0] + right_mm + radius_mm * np.cos(angle)
    y = CENTRE_MM[1] + down_mm + radius_mm * np.sin(angle)
    return np.column_stack((x / SPACING[1], y / SPACING[0]))


def judge(pixels: NDArray[np.float32], mask: NDArray[np.bool_], contour: Points) -> Plausibility:
    return judge_contour(pixels, mask, contour_to_mask(contour, SHAPE), SPACING)


def flags(pixels: NDArray[np.float32], mask: NDArray[np.bool_], contour: Points) -> frozenset[Flag]:
    return judge(pixels, mask, contour).flags


def test_the_cavitys_own_contour_is_not_flagged() -> None:
    assert flags(heart(), disc(20.0), circle(20.0)) == frozenset()


def test_the_outer_boundary_of_the_wall_is_the_epicardium() -> None:
    assert flags(heart(), disc(20.0), circle(28.0)) == {Flag.EPICARDIUM}


def test_a_wider_cavity_that_lies_off_centre_in_a_thick_wall_is_another_frames() -> None:
    # End-diastole's contour, 26 mm, at end-systole: the cavity is 18 mm wide and has moved by 4.
    image = heart(cavity_mm=18.0, wall_mm=14.0)
    assert flags(image, disc(18.0), circle(26.0, right_mm=4.0)) == {Flag.OTHER_FRAME}


def test_a_narrower_contour_with_blood_around_it_is_another_frames() -> None:
    assert flags(heart(), disc(20.0), circle(14.0)) == {Flag.OTHER_FRAME}


def test_a_wider_contour_is_not_flagged_where_the_image_shows_that_the_mask_is_too_small() -> None:
    assert flags(heart(), disc(14.0), circle(20.0)) == frozenset()


def test_a_narrower_contour_is_not_flagged_where_the_image_shows_that_the_mask_is_too_large() -> None:
    assert flags(heart(), disc(27.0), circle(20.0)) == frozenset()


@pytest.mark.parametrize("radius_mm", [17.5, 22.5])
def test_a_contour_a_little_wider_or_narrower_is_not_flagged(radius_mm: float) -> None:
    assert flags(heart(), disc(20.0), circle(radius_mm)) == frozenset()


@pytest.mark.parametrize(("right_mm", "down_mm"), [(6.0, 0.0), (0.0, -6.0), (30.0, 30.0)])
def test_a_contour_that_lies_off_is_of_another_place(right_mm: float, down_mm: float) -> None:
    contour = circle(20.0, right_mm=right_mm, down_mm=down_mm)
    assert flags(heart(), disc(20.0), contour) == {Flag.OTHER_PLACE}


def test_a_contour_that_lies_a_little_off_is_not_flagged() -> None:
    assert flags(heart(), disc(20.0), circle(20.0, right_mm=-3.0, down_mm=3.0)) == frozenset()


def test_a_narrow_contour_that_is_half_outside_the_mask_is_of_another_place() -> None:
    assert flags(heart(), disc(20.0), circle(10.0, down_mm=20.0)) == {Flag.OTHER_PLACE}


def test_the_offset_points_from_the_mask_to_the_contour_in_mm() -> None:
    contour = circle(20.0, right_mm=2.5, down_mm=-3.0)  # 2 columns and 3 rows
    offset_mm = judge(heart(), disc(20.0), contour).offset_mm
    assert offset_mm == pytest.approx((2.5, -3.0), abs=0.05)


@pytest.mark.parametrize(("slope", "air"), [(0.25, 0.0), (1.0, -1024.0), (40.0, 300.0)])
def test_the_scale_of_the_intensities_does_not_matter(slope: float, air: float) -> None:
    image = (air + slope * heart()).astype(np.float32)
    assert flags(image, disc(20.0), circle(28.0)) == {Flag.EPICARDIUM}
    assert flags(image, disc(20.0), circle(14.0)) == {Flag.OTHER_FRAME}


def test_an_image_without_contrast_speaks_against_no_contour() -> None:
    flat = np.full(SHAPE, 7, dtype=np.float32)
    assert flags(flat, disc(20.0), circle(28.0)) == frozenset()
    assert flags(flat, disc(20.0), circle(14.0)) == frozenset()


def test_beside_an_empty_mask_nothing_is_said() -> None:
    judged = judge(heart(), np.zeros(SHAPE, dtype=np.bool_), circle(20.0))
    assert (judged.flags, judged.offset_mm) == (frozenset(), None)


def test_of_a_contour_between_pixel_centres_nothing_is_said() -> None:
    between = np.array([(50.2, 50.2), (50.8, 50.2), (50.8, 50.8)])
    judged = judge(heart(), disc(20.0), between)
    assert (judged.flags, judged.offset_mm) == (frozenset(), None)


def test_masks_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(128, 112\), \(112, 128\) and \(128, 112\)"):
        judge_contour(heart(), disc(20.0).T, disc(20.0), SPACING)


def test_of_the_experts_contours_the_right_ones_are_not_flagged_and_the_outer_ones_are(
    sunnybrook: Path,
) -> None:
    # With the experts' own masks, so that the images alone speak; benchmarks/contour_flags.py takes a model's.
    images = load_all(index_sunnybrook(sunnybrook, sunnybrook).samples).images

    def flagged(contour_of) -> list[bool]:
        return [
            bool(
                judge_contour(
                    each.slice.pixels,
                    each.mask,
                    contour_to_mask(contour, each.mask.shape),
                    each.slice.pixel_spacing,
                ).flags
            )
            for each in images
            if (contour := contour_of(each)) is not None
        ]

    assert flagged(lambda image: image.contour) == [False] * 74
    outer = flagged(lambda image: image.outer)
    assert (sum(outer), len(outer)) == (37, 37)
