import numpy as np
import pytest

from lvseg.train.confusion import Confusion, read_confusions, write_confusions

EXPERT = np.array([[1, 1, 0, 0], [1, 0, 0, 0]], dtype=bool)
MASK = np.array([[0, 1, 1, 0], [1, 0, 0, 0]], dtype=bool)


def test_pixels_are_counted_by_what_both_say_of_them():
    assert Confusion.of(MASK, EXPERT) == Confusion(
        true_negative=4, false_positive=1, false_negative=1, true_positive=2
    )


def test_the_shares_are_of_the_class_they_name():
    confusion = Confusion(true_negative=90, false_positive=10, false_negative=1, true_positive=4)
    assert confusion.specificity == pytest.approx(0.9)
    assert confusion.sensitivity == pytest.approx(0.8)
    assert confusion.precision == pytest.approx(4 / 14)


def test_a_share_of_nothing_is_none():
    background = Confusion(true_negative=8)
    assert (background.sensitivity, background.precision) == (None, None)
    assert Confusion(true_positive=8).specificity is None


def test_slices_add_up():
    assert Confusion(1, 2, 3, 4) + Confusion(10, 20, 30, 40) == Confusion(11, 22, 33, 44)


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(2, 4\) and \(4, 2\)"):
        Confusion.of(MASK, EXPERT.T)


def test_the_file_holds_an_epoch_a_row(tmp_path):
    path = tmp_path / "confusion.csv"
    confusions = {20: Confusion(5, 6, 7, 8), 10: Confusion(1, 2, 3, 4)}
    write_confusions(confusions, path)
    assert path.read_text().splitlines() == [
        "epoch,true_negative,false_positive,false_negative,true_positive",
        "10,1,2,3,4",
        "20,5,6,7,8",
    ]
    assert read_confusions(path) == confusions
    assert list(tmp_path.iterdir()) == [path]
