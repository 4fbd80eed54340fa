"""Overlays: what is drawn where, pixel by pixel."""

import numpy as np
import pytest
from numpy.typing import NDArray

from lvseg.errors import ContourError
from lvseg.overlay import CONTOUR_COLOUR, MASK_COLOUR, overlay, window_around

SQUARE = [(1.5, 1.5), (5.5, 1.5), (5.5, 5.5), (1.5, 5.5)]
BLACK = np.zeros((8, 8), dtype=np.float32)  # drawn 96 times larger, 768 x 768
RAMP = np.tile(np.arange(256, dtype=np.float32), (256, 1))


def drawn(picture) -> NDArray[np.uint8]:
    return np.asarray(picture)


@pytest.mark.parametrize(
    ("shape", "size"),
    [((256, 256), (768, 768)), ((256, 200), (800, 1024)), ((1000, 900), (900, 1000)), ((1, 1), (768, 768))],
)
def test_a_small_slice_is_enlarged_by_a_whole_factor(shape: tuple[int, int], size: tuple[int, int]) -> None:
    picture = overlay(np.zeros(shape, dtype=np.float32))
    assert picture.size == size
    assert picture.mode == "RGB"


@pytest.mark.parametrize(
    ("shortest_side", "size"), [(8, (8, 8)), (20, (24, 24)), (200, (200, 200)), (1, (8, 8))]
)
def test_a_smaller_picture_can_be_asked_for(shortest_side: int, size: tuple[int, int]) -> None:
    assert overlay(BLACK, contour=SQUARE, shortest_side=shortest_side).size == size


def test_a_slice_alone_is_grey() -> None:
    levels = drawn(overlay(RAMP))
    assert (levels == levels[..., :1]).all()
    assert levels.min() == 0
    assert levels.max() == 255


def test_a_single_bright_pixel_does_not_darken_the_rest() -> None:
    spoilt = RAMP.copy()
    spoilt[0, 0] = 1e6
    np.testing.assert_allclose(drawn(overlay(spoilt))[300:], drawn(overlay(RAMP))[300:], atol=1)


def test_pixels_that_are_few_are_still_seen_on_a_constant_ground() -> None:
    sparse = np.zeros((200, 200), dtype=np.float32)
    sparse[100, 100] = 7
    assert drawn(overlay(sparse)).max() > 200


@pytest.mark.parametrize("value", [0.0, -40.0, 3000.0])
def test_a_constant_slice_is_black(value: float) -> None:
    assert not drawn(overlay(np.full((8, 8), value, dtype=np.float32))).any()


def test_the_contour_lies_at_its_place_within_the_pixels() -> None:
    # Between the centres of pixels 1 and 2 is 2 whole pixels from the picture's edge: 2 * 96 = 192.
    row = drawn(overlay(BLACK, contour=SQUARE))[384]
    columns = np.flatnonzero(row.any(axis=1))
    assert set(columns) <= {190, 191, 192, 193, 574, 575, 576, 577}
    blue = row[:, 2].astype(float)
    centres = np.arange(768) + 0.5
    assert np.average(centres[:384], weights=blue[:384]) == pytest.approx(192, abs=0.25)
    assert np.average(centres[384:], weights=blue[384:]) == pytest.approx(576, abs=0.25)


def test_the_contour_is_closed() -> None:
    picture = drawn(overlay(BLACK, contour=SQUARE))
    assert picture[384, 190:194].any()  # the side from the last point to the first


def test_the_outline_of_a_mask_runs_between_inside_and_outside() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:6, 2:6] = True
    row = drawn(overlay(BLACK, mask))[int(3.5 * 96)]
    columns = np.flatnonzero(row.any(axis=1))
    assert set(columns) <= {190, 191, 192, 193, 574, 575, 576, 577}
    assert tuple(row[columns].max(axis=0)) == pytest.approx(MASK_COLOUR, rel=0.3)


def test_mask_and_contour_have_each_their_colour() -> None:
    mask = np.zeros((8, 8), dtype=np.uint8)
    mask[3:5, 3:5] = 1
    colours = {tuple(colour) for colour in drawn(overlay(BLACK, mask, SQUARE)).reshape(-1, 3).tolist()}
    assert {MASK_COLOUR, CONTOUR_COLOUR} <= colours


def test_every_component_of_a_mask_is_outlined() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[1, 1] = mask[6, 6] = True
    picture = drawn(overlay(BLACK, mask))
    assert picture[:384, :384].any()
    assert picture[384:, 384:].any()


def test_an_empty_mask_draws_nothing() -> None:
    np.testing.assert_array_equal(
        drawn(overlay(RAMP, np.zeros((256, 256), dtype=bool))), drawn(overlay(RAMP))
    )


def test_lines_along_the_edge_of_the_image_are_drawn() -> None:
    picture = drawn(overlay(BLACK, np.ones((8, 8), dtype=bool)))
    assert all(side.any() for side in (picture[0], picture[-1], picture[:, 0], picture[:, -1]))


def test_a_caption_is_written_in_the_lower_left_corner_alone() -> None:
    picture = drawn(overlay(BLACK, caption="Dice 0.95\nAPD 1.2 mm"))
    rows, columns = np.nonzero(picture.any(axis=2))
    assert rows.min() > 700
    assert columns.min() < 40
    assert columns.max() < 400


def test_the_slice_is_left_as_it_was() -> None:
    pixels = RAMP.copy()
    overlay(pixels, np.ones((256, 256), dtype=bool), SQUARE, caption="a")
    np.testing.assert_array_equal(pixels, RAMP)


def test_a_mask_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(8, 8\), got \(8, 9\)"):
        overlay(BLACK, np.zeros((8, 9), dtype=bool))


def test_a_contour_outside_the_slice_is_refused() -> None:
    with pytest.raises(ContourError) as caught:
        overlay(BLACK, contour=[(0, 0), (1e9, 0), (0, 5)])
    assert caught.value.reason == "OUTSIDE_IMAGE"


@pytest.mark.parametrize("shape", [(8,), (2, 8, 8), (0, 8)])
def test_what_is_no_slice_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected a slice"):
        overlay(np.zeros(shape, dtype=np.float32))


def test_a_filled_mask_is_seen_through() -> None:
    mask = np.zeros((8, 8), dtype=bool)
    mask[2:6, 2:6] = True
    picture = drawn(overlay(BLACK, mask=mask, fill=0.4))
    inside, outside = picture[384, 384], picture[100, 100]
    np.testing.assert_allclose(inside, 0.4 * np.array(MASK_COLOUR), atol=1)
    assert not outside.any()


def test_a_mask_is_not_filled_unless_asked() -> None:
    assert not drawn(overlay(BLACK, mask=np.ones((8, 8), dtype=bool)))[384, 384].any()


@pytest.mark.parametrize(
    ("centre", "expected"),
    [
        ((50, 30), (slice(20, 40), slice(40, 60))),
        ((3, 78), (slice(60, 80), slice(0, 20))),  # moved inside at two edges
    ],
)
def test_a_window_is_a_square_around_its_centre_within_the_slice(centre, expected):
    assert window_around(np.array(centre, dtype=np.float64), 20, (80, 100)) == expected


def test_a_window_larger_than_the_slice_is_cut():
    assert window_around(np.array([40.0, 10.0]), 30, (16, 100)) == (slice(0, 16), slice(25, 55))
