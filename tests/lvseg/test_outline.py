"""The closed lines between inside and outside, held to scikit-image's."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from skimage.measure import find_contours

from lvseg.outline import trace

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=12))


def turned(line: NDArray[np.float64]) -> tuple[tuple[float, float], ...]:
    """Return a closed line's points from its least one on."""
    points = [tuple(point) for point in line.tolist()]
    first = points.index(min(points))
    return tuple(points[first:] + points[:first])


@given(masks)
@settings(deadline=None)
def test_lines_are_those_of_scikit_image(mask: NDArray[np.bool_]) -> None:
    padded = np.pad(mask, 1).astype(float)
    found = find_contours(padded, 0.5, fully_connected="low", positive_orientation="low")
    assert sorted(map(turned, trace(mask))) == sorted(turned(line[:-1, ::-1] - 1) for line in found)


def test_a_line_runs_clockwise_around_a_pixel() -> None:
    [line] = trace(np.array([[True]]))
    # x to the right, y down: from the top by the right to the bottom and the left.
    start = line.tolist().index([0.0, -0.5])
    assert np.roll(line, -start, axis=0).tolist() == [[0, -0.5], [0.5, 0], [0, 0.5], [-0.5, 0]]


def test_a_line_runs_counter_clockwise_around_a_hole() -> None:
    _, hole = trace(np.array([[1, 1, 1], [1, 0, 1], [1, 1, 1]], dtype=bool))
    start = hole.tolist().index([1.0, 0.5])
    assert np.roll(hole, -start, axis=0).tolist() == [[1, 0.5], [0.5, 1], [1, 1.5], [1.5, 1]]


def test_pixels_that_touch_in_a_corner_are_apart() -> None:
    assert [len(line) for line in trace(np.eye(3, dtype=bool))] == [4, 4, 4]


def test_the_first_line_is_around_the_topmost_then_leftmost_pixel() -> None:
    mask = np.array([[0, 0, 1, 0], [1, 0, 1, 1]], dtype=bool)
    first, second = trace(mask)
    assert (len(first), len(second)) == (8, 4)


def test_a_mask_of_many_parts_has_a_line_for_each() -> None:
    mask = np.zeros((512, 512), dtype=bool)
    mask[::2, ::2] = True
    assert {len(line) for line in trace(mask)} == {4}
    assert len(trace(mask)) == 256 * 256


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (2, 3)])
def test_an_empty_mask_has_no_line(shape: tuple[int, int]) -> None:
    assert trace(np.zeros(shape, dtype=bool)) == []


@given(st.integers(1, 40), st.integers(1, 40))
@settings(deadline=None)
def test_a_full_mask_has_a_point_for_each_side_of_its_border(rows: int, columns: int) -> None:
    assert [len(line) for line in trace(np.ones((rows, columns), dtype=bool))] == [2 * (rows + columns)]
