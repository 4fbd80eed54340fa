"""What is said of contours that look wrong."""

from lvseg_serve.client.doubts import doubts
from lvseg_serve.client.jobs import Outcome
from lvseg_serve.client.results import Row


def outcome(file: str = "a.dcm", flags: str = "", **about_it: object) -> Outcome:
    return Outcome(Row(file=file, flags=flags), **about_it)  # type: ignore[arg-type]


def series(name: str, offset_mm: tuple[float, float], slices: int = 5) -> list[Outcome]:
    return [outcome(f"{name}/{at}.dcm", offset_mm=offset_mm, series=name) for at in range(slices)]


def test_of_contours_without_flags_that_lie_on_the_masks_nothing_is_said() -> None:
    assert list(doubts([outcome(), *series("1.2", (0.1, -0.1))])) == []


def test_flagged_contours_are_counted_by_kind_in_one_line() -> None:
    outcomes = [
        outcome("a.dcm"),
        outcome("b.dcm", "other-place"),
        outcome("c.dcm", "epicardium"),
        outcome("d.dcm", "other-place"),
    ]
    assert list(doubts(outcomes)) == [
        "3 contours look wrong (epicardium 1, other-place 2), the first: b.dcm; see the column flags"
    ]


def test_a_series_whose_contours_all_lie_off_is_named_by_its_first_slice() -> None:
    (line,) = doubts([*series("1.2", (0.0, 0.0)), *series("1.3", (-2.0, 1.0))])
    assert line == (
        "the contours of 1 of 2 series lie off the masks in one direction, the first: that of 1.3/0.dcm, "
        "2.0 mm to the left and 1.0 mm down on average over 5 slices; check the origin of their coordinates"
    )


def test_contours_of_one_series_that_lie_off_are_not_averaged_with_anothers() -> None:
    (line,) = doubts([*series("1.2", (3.0, 0.0)), *series("1.3", (-3.0, 0.0))])
    assert line.startswith("the contours of 2 of 2 series lie off the masks")


def test_slices_that_name_no_series_are_of_none() -> None:
    assert list(doubts(series("", (3.0, 0.0)))) == []
