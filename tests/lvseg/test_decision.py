import numpy as np
import pytest

from lvseg.decision import ventricle


def _slice(**parts: tuple[int, float]) -> np.ndarray:
    """A probability with a row of pixels for each part, with its (area, probability)."""
    probability = np.full((2 * len(parts), 64), 0.1, dtype=np.float32)
    for row, (area, certainty) in enumerate(parts.values()):
        probability[2 * row, :area] = certainty
    return probability


def _row(probability: np.ndarray) -> int:
    (rows,) = np.nonzero(ventricle(probability).any(axis=1))
    assert len(rows) == 1
    return int(rows[0]) // 2


def test_of_equally_sure_parts_the_largest_is_taken():
    assert _row(_slice(small=(9, 0.9), large=(10, 0.9))) == 1


def test_of_equally_large_parts_the_surest_is_taken():
    assert _row(_slice(sure=(9, 0.91), doubtful=(9, 0.9))) == 0


# ln(0.9 / 0.1) is twice ln(0.75 / 0.25): the surer part wins while the other is below four times its area.
@pytest.mark.parametrize(("area", "expected"), [(35, 0), (37, 1)])
def test_a_part_half_as_sure_has_to_be_four_times_as_large(area, expected):
    assert _row(_slice(sure=(9, 0.9), doubtful=(area, 0.75))) == expected


def test_a_single_pixel_of_certainty_outweighs_no_cavity():
    assert _row(_slice(pixel=(1, 1.0), cavity=(25, 0.95))) == 1


def test_pixels_that_share_a_corner_alone_are_apart():
    probability = np.zeros((4, 4), dtype=np.float32)
    probability[0, :2] = 0.9
    probability[1, 2] = 0.9
    np.testing.assert_array_equal(np.argwhere(ventricle(probability)), [(0, 0), (0, 1)])


def test_a_half_is_outside():
    assert not ventricle(np.full((3, 3), 0.5, dtype=np.float32)).any()
