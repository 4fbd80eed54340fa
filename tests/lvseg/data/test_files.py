import pytest

from lvseg.data.files import find_dicom, looks_like_dicom, walk_files
from lvseg.errors import DatasetError


def test_files_come_sorted_by_folder_and_name_whatever_the_order_of_their_making(tree):
    paths = [tree.text(name, "") for name in ("b/2.txt", "b/10.txt", "a/3.txt", "c.txt")]
    assert list(walk_files(tree.root)) == [paths[3], paths[2], paths[1], paths[0]]


def test_hidden_files_and_folders_are_passed_over(tree):
    tree.text("SC-N-2/._IM-0004-0001.dcm", "")
    tree.text(".Trash/IM-0004-0001.dcm", "")
    assert list(walk_files(tree.root)) == []


def test_a_linked_folder_is_walked_once_even_where_links_make_a_circle(tree, tmp_path):
    image = tree.text("data/SC-N-2/IM-0004-0001.dcm", "")
    (tmp_path / "data/SC-N-2/up").symlink_to(tmp_path / "data")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "data")
    assert list(walk_files(tmp_path / "elsewhere")) == [tmp_path / "elsewhere/SC-N-2" / image.name]


def test_dicom_is_known_by_its_suffix_or_by_its_first_bytes(tree):
    named = tree.text("a.DCM", "not yet looked at")
    unnamed = tree.image("b")
    assert looks_like_dicom(named)
    assert looks_like_dicom(unnamed)
    assert not looks_like_dicom(tree.text("c", "x" * 128 + "DICOM in text"[1:]))
    assert not looks_like_dicom(tree.text("d.txt", ""))


def test_a_dicomdir_is_no_image(tree):
    assert not looks_like_dicom(tree.image("DICOMDIR"))


def test_dicom_files_are_found_below_folders_sorted_and_each_once(tree):
    second, first = tree.image("x/2.dcm"), tree.image("x/1")
    tree.text("x/readme.txt", "hello")
    assert find_dicom([second, tree.root / "x", tree.root]) == [first, second]


def test_a_file_that_is_named_itself_is_returned_whatever_it_holds(tree):
    text = tree.text("readme.txt", "hello")
    assert find_dicom([text]) == [text]


def test_a_path_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DatasetError, match="nowhere: no such file or folder") as caught:
        find_dicom([tmp_path / "nowhere"])
    assert caught.value.reason == "NO_SUCH_FILE"
