import numpy as np
import pytest

from lvseg_serve.runs import decode_runs, encode_runs


@pytest.mark.parametrize(
    ("mask", "runs"),
    [
        ([[0, 1, 1], [1, 0, 0]], [1, 3, 2]),  # a run goes on over the end of a row
        ([[1, 0], [0, 1]], [0, 1, 2, 1]),  # background comes first, even where there is none
        ([[0, 0], [0, 0]], [4]),
        ([[1, 1], [1, 1]], [0, 4]),
        ([[1]], [0, 1]),
    ],
)
def test_runs_alternate_from_background(mask: list[list[int]], runs: list[int]) -> None:
    array = np.array(mask, dtype=bool)
    assert encode_runs(array) == runs
    np.testing.assert_array_equal(decode_runs(runs, array.shape), array)


@pytest.mark.parametrize("runs", [[], [5], [2, 1], [5, -1]])
def test_runs_of_another_number_of_pixels_are_refused(runs: list[int]) -> None:
    with pytest.raises(ValueError, match="expected runs of 4 pixels"):
        decode_runs(runs, (2, 2))
