"""Contours: text, polygon, mask and area."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon2mask

from lvseg.contour import (
    MAX_POINTS,
    Points,
    check_contour,
    contour_area_mm2,
    contour_to_mask,
    format_contour,
    mask_area_mm2,
    mask_boundaries,
    mask_outlines,
    mask_to_contour,
    parse_contour,
    read_contour,
)
from lvseg.errors import ContourError

TRIANGLE = "106.50 109.00\n107.00 108.50\n106.00 108.50\n"
# Hypothesis has no say in how fast a shared machine is.
unhurried = settings(deadline=None)
masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


def signed_area(points: Points) -> float:
    """Shoelace; above 0 for a polygon that runs clockwise on the screen (y down)."""
    x, y = points.T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def exact_mask(points: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Even-odd fill with edges, in rational numbers: nothing is rounded."""
    corners = [(Fraction(x), Fraction(y)) for x, y in points.tolist()]
    mask = np.zeros(shape, dtype=bool)
    for row, column in np.ndindex(shape):
        inside = on_edge = False
        for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
            collinear = (x1 - x0) * (row - y0) == (y1 - y0) * (column - x0)
            within = min(x0, x1) <= column <= max(x0, x1) and min(y0, y1) <= row <= max(y0, y1)
            on_edge |= collinear and within
            if (y0 <= row) != (y1 <= row):
                inside ^= x0 + (row - y0) * (x1 - x0) / (y1 - y0) < column
        mask[row, column] = inside or on_edge
    return mask


# Text


def test_a_line_is_column_then_row() -> None:
    np.testing.assert_array_equal(parse_contour(TRIANGLE), [(106.5, 109.0), (107.0, 108.5), (106.0, 108.5)])


@pytest.mark.parametrize(
    "text",
    [
        TRIANGLE.rstrip("\n"),
        TRIANGLE.replace("\n", "\r\n"),
        TRIANGLE + "\n  \n",
        "\ufeff" + TRIANGLE,
        TRIANGLE.replace(" ", "\t"),
    ],
    ids=["no last newline", "carriage returns", "blank lines at the end", "byte order mark", "tabs"],
)
def test_what_editors_do_to_a_text_file_changes_nothing(text: str) -> None:
    np.testing.assert_array_equal(parse_contour(text), parse_contour(TRIANGLE))


@pytest.mark.parametrize(
    ("text", "reason", "where"),
    [
        ("", "TOO_FEW_POINTS", "contour line 1: ends after 0 points"),
        ("1 2\n", "TOO_FEW_POINTS", "contour line 1: ends after 1 point,"),
        ("1 2\n3 4\n", "TOO_FEW_POINTS", "contour line 2: ends after 2 points"),
        ("1 2\n3 4 5\n6 7\n", "NOT_TWO_NUMBERS", "contour line 2: "),
        ("1 2\n\n3 4\n6 7\n", "NOT_TWO_NUMBERS", "contour line 2: "),
        ("1 2\n3 4\nfive 6\n", "NOT_TWO_NUMBERS", "contour line 3: "),
        ("1,5 2\n3 4\n5 6\n", "NOT_TWO_NUMBERS", "contour line 1: "),
        ("1_0 2\n3 4\n5 6\n", "NOT_TWO_NUMBERS", "contour line 1: "),
        ("\u0661 2\n3 4\n5 6\n", "NOT_TWO_NUMBERS", "contour line 1: "),
        ("1 2\n3 4\n6 nan\n", "NOT_FINITE", "contour line 3: "),
        ("1 2\n-inf 4\n6 7\n", "NOT_FINITE", "contour line 2: "),
        ("1 2\n3 1e999\n6 7\n", "NOT_FINITE", "contour line 2: "),
        ("1 1\n2 2\n4 4\n", "ZERO_AREA", "contour: all 3 points lie on one line"),
        ("1 1\n1 1\n1 1\n", "ZERO_AREA", "contour: all 3 points lie on one line"),
        ("1e308 1e308\n0 0\n-1e308 -1e308\n", "ZERO_AREA", "contour: all 3 points"),
        pytest.param("1 2\n" * (MAX_POINTS + 1), "TOO_MANY_POINTS", f"{MAX_POINTS} points", id="many lines"),
        pytest.param(
            " " * 100 * MAX_POINTS + "1", "TOO_MANY_POINTS", f"{MAX_POINTS} points", id="a long line"
        ),
    ],
)
def test_a_malformed_text_is_refused_with_a_reason_and_its_line(text: str, reason: str, where: str) -> None:
    with pytest.raises(ContourError) as caught:
        parse_contour(text)
    assert caught.value.reason == reason
    assert where in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.field == "contour"
    assert caught.value.expected


def test_an_error_names_the_contour_as_it_was_called() -> None:
    with pytest.raises(ContourError, match=r"^IM-0001-0048-icontour-manual\.txt line 2: ends after 2 points"):
        parse_contour("1 2\n3 4", "IM-0001-0048-icontour-manual.txt")


def test_an_error_does_not_repeat_the_text() -> None:
    with pytest.raises(ContourError) as caught:
        parse_contour("Doe^Jane 19700101\n1 2\n3 4\n")
    assert "Doe" not in str(caught.value)
    assert "1970" not in str(caught.value)


def test_the_longest_contour_accepted_is_parsed() -> None:
    angle = np.linspace(0, 2 * np.pi, MAX_POINTS, endpoint=False)
    circle = 100 + 50 * np.column_stack((np.cos(angle), np.sin(angle)))
    np.testing.assert_array_equal(parse_contour(format_contour(circle)), circle)


def test_a_contour_is_written_with_two_decimals_as_in_the_challenge() -> None:
    assert format_contour([(106.5, 109), (107, 108.5), (106, 108.5)]) == TRIANGLE


@unhurried
@given(hnp.arrays(np.float64, (4, 2), elements=st.floats(-1e6, 1e6)))
def test_a_contour_written_and_read_is_the_same(drawn: Points) -> None:
    points = np.vstack((drawn, [(2e6, 2e6), (2e6, 3e6), (-2e6, 0)]))  # whatever was drawn, not on one line
    np.testing.assert_array_equal(parse_contour(format_contour(points)), points)


# Files


def test_a_file_reads_as_its_text(tmp_path: Path) -> None:
    path = tmp_path / "contour.txt"
    path.write_text(TRIANGLE)
    np.testing.assert_array_equal(read_contour(str(path)), parse_contour(TRIANGLE))


def test_an_error_in_a_file_names_the_file_and_the_line(tmp_path: Path) -> None:
    path = tmp_path / "contour.txt"
    path.write_text("1 2\n3\n")
    with pytest.raises(ContourError) as caught:
        read_contour(path)
    assert str(caught.value).startswith(f"{path} line 2: expected two numbers")


@pytest.mark.parametrize("name", ["absent.txt", "."], ids=["missing", "a folder"])
def test_a_path_that_is_no_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ContourError) as caught:
        read_contour(tmp_path / name)
    assert caught.value.reason == "UNREADABLE"
    assert str(caught.value).startswith(str(tmp_path / name))


def test_a_file_of_bytes_that_are_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(b"\0" * 128 + b"DICM\xfe\xff\x80")
    with pytest.raises(ContourError) as caught:
        read_contour(path)
    assert caught.value.reason == "NOT_TEXT"


def test_a_file_far_too_long_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(b"\xff" * 100 * MAX_POINTS)
    with pytest.raises(ContourError) as caught:
        read_contour(path)
    assert caught.value.reason == "TOO_MANY_POINTS"


def test_the_experts_files_are_written_as_they_were_read(sunnybrook: Path) -> None:
    paths = sorted(sunnybrook.rglob("*contour-manual.txt"))
    assert len(paths) == 111
    for path in paths:
        assert format_contour(read_contour(path)) == path.read_text()


# Contour to mask


def test_the_pixels_with_their_centre_inside_are_the_mask() -> None:
    contour = [(0.6, 0.6), (3.4, 0.6), (3.4, 2.4), (0.6, 2.4)]
    expected = np.zeros((4, 5), dtype=bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(contour_to_mask(contour, (4, 5)), expected)


def test_a_centre_on_a_side_or_a_corner_is_inside() -> None:
    # Corners on the centres of (1, 1), (3, 1), (3, 2), (1, 2): sides of every direction but slanted ones.
    contour = [(1, 1), (3, 1), (3, 2), (1, 2)]
    expected = np.zeros((4, 5), dtype=bool)
    expected[1:3, 1:4] = True
    np.testing.assert_array_equal(contour_to_mask(contour, (4, 5)), expected)


def test_a_centre_on_a_slanted_side_is_inside() -> None:
    # The long side from (0, 3) to (3, 0) passes through the centres of the anti-diagonal.
    expected = np.flipud(np.tri(4, dtype=bool))
    np.testing.assert_array_equal(contour_to_mask([(0, 0), (3, 0), (0, 3)], (4, 4)), expected)


def test_fractions_of_a_pixel_count() -> None:
    def first_column(left: float) -> int:
        square = [(left, 0), (left + 2, 0), (left + 2, 2), (left, 2)]
        return int(contour_to_mask(square, (3, 6)).any(axis=0).argmax())

    assert [first_column(left) for left in (0.0, 0.4, 1.0, 1.01)] == [0, 1, 1, 2]


def test_a_contour_between_pixel_centres_gives_an_empty_mask() -> None:
    assert not contour_to_mask([(0.2, 0.2), (0.8, 0.2), (0.8, 0.8)], (2, 2)).any()


def test_a_contour_around_the_whole_image_fills_it() -> None:
    assert contour_to_mask([(-0.5, -0.5), (2.5, -0.5), (2.5, 1.5), (-0.5, 1.5)], (2, 3)).all()


def test_where_a_contour_overlaps_itself_it_is_filled_by_the_even_odd_rule() -> None:
    outer = [(0.5, 0.5), (5.5, 0.5), (5.5, 5.5), (0.5, 5.5), (0.5, 0.5)]
    inner = [(1.5, 1.5), (4.5, 1.5), (4.5, 4.5), (1.5, 4.5), (1.5, 1.5)]
    mask = contour_to_mask(outer + inner, (7, 7))
    assert mask[1:6, 1:6].sum() == 25 - 9
    assert not mask[2:5, 2:5].any()


@pytest.mark.parametrize(
    "variant",
    [
        lambda points: points[::-1],
        lambda points: np.roll(points, 3, axis=0),
        lambda points: [*points, points[0]],
    ],
    ids=["direction", "starting point", "first point repeated"],
)
def test_how_a_polygon_is_written_down_does_not_matter(variant) -> None:
    points = np.array([(1, 1), (4.5, 0.5), (6, 4), (3, 6.5), (0.5, 4)])
    np.testing.assert_array_equal(contour_to_mask(variant(points), (8, 8)), contour_to_mask(points, (8, 8)))


@unhurried
@given(
    hnp.arrays(np.int64, st.tuples(st.integers(3, 12), st.just(2)), elements=st.integers(-1, 17)),
)
def test_half_pixel_polygons_are_filled_exactly(halves: NDArray[np.int64]) -> None:
    points = halves / 2
    if np.linalg.matrix_rank(points - points[0]) < 2:
        with pytest.raises(ContourError, match="one line"):
            contour_to_mask(points, (9, 9))
    else:
        np.testing.assert_array_equal(contour_to_mask(points, (9, 9)), exact_mask(points, (9, 9)))


@pytest.mark.parametrize("seed", range(20))
def test_a_polygon_of_any_coordinates_is_filled_as_scikit_image_fills_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (17, 23)
    points = rng.uniform(-0.5, (22.5, 16.5), size=(rng.integers(3, 30), 2))
    np.testing.assert_array_equal(contour_to_mask(points, shape), polygon2mask(shape, points[:, ::-1]))


def test_a_contour_of_many_points_in_a_tall_image_is_filled_as_scikit_image_fills_it() -> None:
    shape = (4096, 8)
    angle = np.linspace(
        0, 40 * np.pi, 1000, endpoint=False
    )  # 40 000 rows crossed by each of 1000 edges or so
    points = np.column_stack((3.5 + 3.9 * np.cos(angle), 2047.3 + 2040.1 * np.sin(angle * 1.013)))
    np.testing.assert_array_equal(contour_to_mask(points, shape), polygon2mask(shape, points[:, ::-1]))


@pytest.mark.parametrize(
    "point", [(-0.51, 1), (3.51, 1), (1, -0.51), (1, 2.51)], ids=["left", "right", "above", "below"]
)
def test_a_point_outside_the_image_is_refused_by_its_line(point: tuple[float, float]) -> None:
    with pytest.raises(ContourError) as caught:
        contour_to_mask([(0, 0), (1, 1), point, (2, 0)], (3, 4))
    assert caught.value.reason == "OUTSIDE_IMAGE"
    assert str(caught.value).startswith(f"contour line 3: the point ({point[0]:g}, {point[1]:g}) is outside")
    assert caught.value.expected == "x from -0.5 to 3.5 and y from -0.5 to 2.5"


def test_a_point_outside_the_image_is_refused_with_the_name_of_its_file() -> None:
    with pytest.raises(ContourError, match=r"^a\.txt line 1: "):
        check_contour([(9, 0), (1, 1), (2, 0)], (3, 4), name="a.txt")


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([], "TOO_FEW_POINTS"),
        ([(0, 0), (1, 1)], "TOO_FEW_POINTS"),
        (np.zeros((4, 3)), "NOT_TWO_NUMBERS"),
        ([(0, 0), (1, np.inf), (2, 0)], "NOT_FINITE"),
        ([(0, 0), (1, 1), (2, 2)], "ZERO_AREA"),
        (np.tile([(0, 0), (1, 0), (1, 1)], (MAX_POINTS // 2, 1)), "TOO_MANY_POINTS"),
    ],
)
def test_points_that_are_no_contour_are_refused_with_a_reason(points, reason: str) -> None:
    with pytest.raises(ContourError) as caught:
        contour_to_mask(points, (3, 4))
    assert caught.value.reason == reason


def test_truncated_coordinates_cost_the_dice_that_the_docstring_tells(sunnybrook: Path) -> None:
    paths = sorted(sunnybrook.rglob("*icontour-manual.txt"))
    assert len(paths) == 74
    dice, growth = [], []
    for path in paths:
        points = read_contour(path)
        mask = contour_to_mask(points, (256, 256))
        truncated = contour_to_mask(np.trunc(points), (256, 256))
        dice.append(2 * (mask & truncated).sum() / (mask.sum() + truncated.sum()))
        growth.append(mask.sum() / abs(signed_area(points)))
    assert (round(np.mean(dice), 3), round(min(dice), 3)) == (0.982, 0.940)
    assert round(np.mean(growth), 3) == 1.026
    told = " ".join((contour_to_mask.__doc__ or "").split())
    assert "Dice 0.982 and 0.940" in told
    assert "2.6 % more" in told


# Mask to contour


def test_the_contour_of_one_pixel_is_a_diamond_around_its_centre() -> None:
    mask = np.zeros((5, 7), dtype=bool)
    mask[2, 4] = True
    contour = mask_to_contour(mask)
    assert contour is not None
    assert sorted(contour.tolist()) == [[3.5, 2], [4, 1.5], [4, 2.5], [4.5, 2]]


def test_the_contour_has_a_point_for_each_pixel_side_on_the_boundary() -> None:
    mask = np.zeros((4, 5), dtype=bool)
    mask[1:3, 1:4] = True  # 2 rows, 3 columns: a boundary of 10 pixel sides
    contour = mask_to_contour(mask)
    assert contour is not None
    top, bottom = [[column, 0.5] for column in (1, 2, 3)], [[column, 2.5] for column in (1, 2, 3)]
    left, right = [[0.5, row] for row in (1, 2)], [[3.5, row] for row in (1, 2)]
    assert sorted(contour.tolist()) == sorted(top + bottom + left + right)


def test_the_contour_runs_clockwise_on_the_screen() -> None:
    contour = mask_to_contour(np.ones((3, 4), dtype=bool))
    assert contour is not None
    assert signed_area(contour) > 0


def test_the_contour_of_an_image_full_of_mask_is_the_edge_of_the_image() -> None:
    contour = mask_to_contour(np.ones((2, 3), dtype=np.uint8))
    assert contour is not None
    assert contour.min(axis=0).tolist() == [-0.5, -0.5]
    assert contour.max(axis=0).tolist() == [2.5, 1.5]


def test_an_empty_mask_has_no_contour() -> None:
    assert mask_to_contour(np.zeros((4, 4), dtype=bool)) is None


def test_the_largest_component_is_taken() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[0, :3] = True
    mask[4:6, 4:6] = True
    contour = mask_to_contour(mask)
    assert contour is not None
    assert contour.min(axis=0).tolist() == [3.5, 3.5]


def test_of_components_of_one_size_the_topmost_is_taken() -> None:
    mask = np.zeros((4, 9), dtype=bool)
    mask[2, 0] = mask[1, 7] = mask[1, 4] = True
    contour = mask_to_contour(mask)
    assert contour is not None
    assert contour.mean(axis=0).tolist() == [4, 1]


def test_pixels_that_share_but_a_corner_are_two_components() -> None:
    contour = mask_to_contour(np.array([[1, 0, 0], [0, 1, 1]], dtype=np.uint8))
    assert contour is not None
    assert contour.mean(axis=0).tolist() == [1.5, 1]


def test_a_hole_is_ignored_however_long_its_boundary() -> None:
    mask = np.ones((15, 15), dtype=bool)
    mask[1:14:2, 1:14] = False  # seven slots of 28 pixel sides each, against 60 around the whole
    mask[1:14, 7] = False
    contour = mask_to_contour(mask)
    assert contour is not None
    np.testing.assert_array_equal(contour_to_mask(contour, mask.shape), np.ones((15, 15), dtype=bool))


@unhurried
@given(masks)
def test_mask_to_contour_to_mask_is_the_largest_component_with_its_holes_filled(
    mask: NDArray[np.bool_],
) -> None:
    contour = mask_to_contour(mask)
    if contour is None:
        assert not mask.any()
        return
    labels, count = ndimage.label(mask)
    sizes = [(labels == label).sum() for label in range(1, count + 1)]
    component = labels == sizes.index(max(sizes)) + 1
    # The background is connected through corners where the mask is not.
    filled = ndimage.binary_fill_holes(component, structure=np.ones((3, 3)))
    np.testing.assert_array_equal(contour_to_mask(contour, mask.shape), filled)
    assert signed_area(contour) == filled.sum() - 0.5
    assert len(np.unique(contour, axis=0)) == len(contour)


@pytest.mark.parametrize("seed", range(5))
def test_blobs_of_the_size_of_a_ventricle_come_back_from_their_contour(seed: int) -> None:
    noise = np.random.default_rng(seed).normal(size=(128, 128))
    labels, _ = ndimage.label(ndimage.gaussian_filter(noise, 6) > 0.02)
    blob = ndimage.binary_fill_holes(labels == np.bincount(labels.ravel())[1:].argmax() + 1, np.ones((3, 3)))
    contour = mask_to_contour(blob)
    assert contour is not None
    np.testing.assert_array_equal(contour_to_mask(contour, blob.shape), blob)


def test_every_component_and_hole_has_its_outline() -> None:
    mask = np.zeros((9, 9), dtype=bool)
    mask[1:6, 1:6] = True
    mask[3, 3] = False
    mask[8, 8] = True
    assert sorted(signed_area(outline) for outline in mask_outlines(mask)) == [-0.5, 0.5, 24.5]


@pytest.mark.parametrize("mask", [np.zeros((2, 2)), np.zeros((1, 2, 2), dtype=bool)], ids=["float", "3-D"])
def test_what_is_no_mask_is_refused(mask) -> None:
    with pytest.raises(ValueError, match="expected a 2-D mask"):
        mask_to_contour(mask)


def test_the_contour_of_a_mask_may_be_longer_than_those_taken_in() -> None:
    comb = np.zeros((201, 200), dtype=bool)
    comb[:, ::2] = True
    comb[100] = True
    contour = mask_to_contour(comb)
    assert contour is not None
    assert len(contour) > MAX_POINTS
    assert contour_area_mm2(contour, (1, 1)) == comb.sum() - 0.5
    assert len(format_contour(contour).splitlines()) == len(contour)


# Areas


@pytest.mark.parametrize("direction", [1, -1])
def test_the_area_of_a_contour_is_that_of_its_polygon_in_millimetres(direction: int) -> None:
    rectangle = [(1.5, 2), (5.5, 2), (5.5, 5), (1.5, 5)][::direction]  # 4 columns by 3 rows
    assert contour_area_mm2(rectangle, (1.5, 2.0)) == (4 * 2.0) * (3 * 1.5)


def test_the_area_of_a_circle_is_pi_r_squared() -> None:
    angle = np.linspace(0, 2 * np.pi, 3600, endpoint=False)
    circle = 1000 + 20 * np.column_stack((np.cos(angle), np.sin(angle)))
    assert contour_area_mm2(circle, (1, 1)) == pytest.approx(np.pi * 400, rel=1e-5)


def test_the_area_of_a_mask_is_that_of_its_pixels() -> None:
    assert mask_area_mm2(np.array([[255, 0], [1, 1]], dtype=np.uint8), (1.5, 2.0)) == 9.0


def test_an_empty_mask_has_no_area() -> None:
    assert mask_area_mm2(np.zeros((3, 3), dtype=bool), (1.5, 2.0)) == 0.0


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_a_pixel_spacing_that_is_no_length_is_refused(spacing: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="pixel spacing must be finite and above 0 mm"):
        mask_area_mm2(np.ones((2, 2), dtype=bool), spacing)


def test_a_ring_with_an_island_in_it_has_two_boundaries_and_one_hole() -> None:
    mask = np.zeros((9, 10), dtype=bool)
    mask[1:8, 2:9] = True  # 7 x 7 pixels from (x, y) = (2, 1)
    mask[2:7, 3:8] = False  # with a hole of 5 x 5
    mask[4, 5] = True  # and one pixel in the middle of it
    ring, island = mask_boundaries(mask)
    assert (ring.outer.min(axis=0).tolist(), ring.outer.max(axis=0).tolist()) == ([1.5, 0.5], [8.5, 7.5])
    (hole,) = ring.holes
    assert (hole.min(axis=0).tolist(), hole.max(axis=0).tolist()) == ([2.5, 1.5], [7.5, 6.5])
    assert (signed_area(ring.outer), signed_area(hole)) == (
        48.5,
        -24.5,
    )  # each cuts its corners: half a pixel
    assert (signed_area(island.outer), island.holes) == (0.5, ())


def test_an_empty_mask_has_no_boundaries() -> None:
    assert mask_boundaries(np.zeros((4, 5), dtype=bool)) == ()


@given(masks)
@unhurried
def test_boundaries_are_all_outlines_each_once(mask: NDArray[np.bool_]) -> None:
    boundaries = mask_boundaries(mask)
    assert len(boundaries) == ndimage.label(mask)[1]
    found = [outline for boundary in boundaries for outline in (boundary.outer, *boundary.holes)]
    corners = {frozenset(map(tuple, outline.tolist())) for outline in found}
    assert len(corners) == len(found)
    assert corners == {frozenset(map(tuple, outline.tolist())) for outline in mask_outlines(mask)}
