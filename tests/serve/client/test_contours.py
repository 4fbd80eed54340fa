from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lvseg.data.files import find_dicom
from lvseg.errors import DatasetError
from lvseg_serve.client.contours import match_contours


@pytest.fixture
def data(tmp_path: Path, make_dicom: Callable[..., bytes]) -> Path:
    """Two cases in the challenge's layout, with two images each; the second image of each has a contour."""
    for case in ("SC-HF-I-1", "SC-HF-I-2"):
        images, contours = tmp_path / "images" / case, tmp_path / "contours" / case
        images.mkdir(parents=True)
        contours.mkdir(parents=True)
        for number in (1, 2):
            pixels = np.full((8, 8), number + 10 * int(case[-1]))
            (images / f"IM-0004-{number:04d}.dcm").write_bytes(make_dicom(pixels))
        (contours / "IM-0001-0002-icontour-manual.txt").write_text("1 1\n5 1\n5 5\n")
    return tmp_path


def test_each_slice_gets_the_contour_of_its_case_and_number(data: Path) -> None:
    images = data / "images"
    matched = match_contours([images], find_dicom([images]), data / "contours")
    assert matched.problems == ()
    assert matched.contour_of == {
        images / case / "IM-0004-0002.dcm": data / "contours" / case / "IM-0001-0002-icontour-manual.txt"
        for case in ("SC-HF-I-1", "SC-HF-I-2")
    }


def test_contours_of_slices_that_are_not_sent_are_left_alone(data: Path) -> None:
    one = data / "images" / "SC-HF-I-1"
    matched = match_contours([one], find_dicom([one]), data / "contours")
    assert list(matched.contour_of) == [one / "IM-0004-0002.dcm"]
    assert matched.problems == ()


def test_folders_may_be_named_one_by_one(data: Path) -> None:
    folders = [data / "images" / case for case in ("SC-HF-I-1", "SC-HF-I-2")]
    matched = match_contours(folders, find_dicom(folders), data / "contours")
    assert len(matched.contour_of) == 2
    assert matched.problems == ()


def test_a_file_that_is_named_itself_gets_its_contour(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    file = Path("images/SC-HF-I-2/IM-0004-0002.dcm")
    matched = match_contours([file], [file], Path("contours"))
    assert [path.parent.name for path in matched.contour_of] == ["SC-HF-I-2"]


def test_a_folder_without_contours_beside_one_that_has_some_is_no_error(
    data: Path, make_dicom: Callable[..., bytes]
) -> None:
    other = data / "other"
    other.mkdir()
    (other / "x.dcm").write_bytes(make_dicom(np.zeros((8, 8))))
    paths = [other, data / "images"]
    assert len(match_contours(paths, find_dicom(paths), data / "contours").contour_of) == 2


def test_contours_of_other_patients_are_refused(data: Path, make_dicom: Callable[..., bytes]) -> None:
    other = data / "SC-HF-I-9"
    other.mkdir()
    (other / "IM-0004-0002.dcm").write_bytes(make_dicom(np.zeros((8, 8))))
    with pytest.raises(DatasetError) as caught:
        match_contours([other], find_dicom([other]), data / "contours")
    assert caught.value.reason == "NOTHING_MATCHES"


def test_a_slice_whose_neighbour_alone_has_a_contour_is_refused(data: Path) -> None:
    file = data / "images" / "SC-HF-I-1" / "IM-0004-0001.dcm"
    with pytest.raises(DatasetError, match=r"no contour below .* belongs to one of the 1 slices"):
        match_contours([file], [file], data / "contours")


def test_two_contours_for_one_slice_are_a_problem_that_is_named(data: Path) -> None:
    twin = data / "contours" / "copy" / "SC-HF-I-1" / "IM-0001-0002-icontour-manual.txt"
    twin.parent.mkdir(parents=True)
    twin.write_text("2 2\n5 2\n5 5\n")
    images = data / "images"
    matched = match_contours([images], find_dicom([images]), data / "contours")
    assert [path.parent.name for path in matched.contour_of] == ["SC-HF-I-2"]
    assert [problem.reason for problem in matched.problems] == ["TWO_CONTOURS"]
