"""One slice, by hand."""

import numpy as np
import pytest

from lvseg.evaluation import judge

MISSED = np.zeros((40, 40), dtype=bool)


def box(top: int, left: int, rows: int, columns: int):
    mask = np.zeros((40, 40), dtype=bool)
    mask[top : top + rows, left : left + columns] = True
    return mask


def test_a_slice_has_the_figures_of_its_mask(make_image):
    # 4 columns to the right. Of the 40 points of the mask's outline the 10 on the left lie 0.5, 1.5, 2.5,
    # 3.5, 4, 4, 3.5, 2.5, 1.5 and 0.5 mm inside the square, the 10 on the right 4 mm outside, 4 above and
    # 4 below 0.5, 1.5, 2.5 and 3.5 mm; the others lie on it: 24 + 40 + 8 + 8 = 80 mm.
    result = judge(make_image(), box(10, 14, 10, 10))
    assert result.dice == 2 * 60 / 200
    assert result.apd_mm == pytest.approx(80 / 40)
    assert result.hausdorff_mm == 4.0
    assert result.good
    assert not result.missed


def test_areas_of_mask_and_expert_are_counted_in_the_same_pixels(make_image):
    # Pixels of 1.5 x 2 mm: 200 of them against the expert's 100.
    result = judge(make_image(spacing=(1.5, 2.0)), box(10, 10, 10, 20))
    assert (result.area_mm2, result.expert_area_mm2) == (600.0, 300.0)
    assert (result.area_error_mm2, result.area_error_percent) == (300.0, 100.0)


def test_a_second_find_counts_in_the_whole_mask_and_not_in_its_outline(make_image):
    # The square exactly, with a hole of a pixel, and 50 pixels elsewhere: 99 of 149 + 100 are common.
    mask = box(10, 10, 10, 10) | box(30, 20, 5, 10)
    mask[14, 14] = False
    result = judge(make_image(), mask)
    assert result.dice == pytest.approx(2 * 99 / 249)
    assert (result.area_mm2, result.area_error_percent) == (149.0, 49.0)
    # From (34, 29) to the square's corner (19, 19): 15 rows and 10 columns.
    assert result.hausdorff_mm == pytest.approx(np.hypot(15, 10))
    assert (result.outline.dice, result.outline.hausdorff_mm, result.outline.area_mm2) == (1.0, 0.0, 100.0)
    assert (result.apd_mm, result.good) == (0.0, True)


def test_the_whole_mask_is_held_to_the_whole_label_and_the_outline_to_the_contour(make_image):
    # A label of masks may have a second part, of 10 pixels here, around which no contour goes.
    image = make_image()
    image.mask[30, 20:30] = True
    result = judge(image, box(10, 10, 10, 10))
    assert (result.dice, result.expert_area_mm2) == (2 * 100 / 210, 110.0)
    assert (result.outline.dice, result.outline.expert_area_mm2) == (1.0, 100.0)


def test_a_missed_ventricle_is_dice_0_not_good_and_without_distances(make_image):
    result = judge(make_image(), MISSED)
    assert (result.dice, result.good, result.missed) == (0.0, False, True)
    assert (result.apd_mm, result.hausdorff_mm) == (None, None)
    assert result.area_error_percent == -100.0


def test_a_contour_15_mm_off_is_not_good(make_image):
    # 20 columns off: 10 points 10 mm away, 10 points 20 mm, and twice 10.5 to 19.5 mm: 600 mm / 40 points.
    result = judge(make_image(), box(10, 30, 10, 10))
    assert (result.apd_mm, result.good, result.dice) == (pytest.approx(15.0), False, 0.0)


def test_patient_and_name_are_the_slices(make_image):
    result = judge(make_image("SC-B-3", 27), MISSED)
    assert (result.patient, result.name) == ("SC-B-3", "SC-B-3/0027")


def test_a_mask_of_another_shape_is_refused(make_image):
    with pytest.raises(ValueError, match=r"the slice's shape \(40, 40\), got \(40, 41\)"):
        judge(make_image(), np.zeros((40, 41), dtype=bool))


def test_a_probability_is_no_mask(make_image):
    with pytest.raises(ValueError, match="bool or integers"):
        judge(make_image(), np.full((40, 40), 0.7))


def test_an_empty_label_is_refused(make_image):
    image = make_image()
    image.mask[:] = False
    with pytest.raises(ValueError, match="holds a pixel at least"):
        judge(image, MISSED)
