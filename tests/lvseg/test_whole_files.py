"""Files that are written whole or not at all."""

import pytest

from lvseg.whole_files import remove_unfinished, same_content, whole_file


def test_a_file_is_written_in_one_piece(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")
    with whole_file(path) as stream:
        stream.write(b"after")
        stream.flush()
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_while_writing_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")
    with pytest.raises(TypeError), whole_file(path) as stream:
        stream.writelines([b"half", "no bytes"])
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_of_the_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught, whole_file(tmp_path / "nowhere/a.txt"):
        pass
    assert caught.value.filename == str(tmp_path / "nowhere/a.txt")


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    for name in (".last.ckpt.unfinished", ".best.ckpt.unfinished", "last.ckpt", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    remove_unfinished(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"last.ckpt", ".hidden"}


def test_a_second_name_keeps_the_content_when_the_first_is_written_anew(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"1")
    second.write_bytes(b"0")
    same_content(first, second)
    same_content(first, second)  # of a file that has both names already
    assert second.stat().st_ino == first.stat().st_ino
    with whole_file(first) as stream:
        stream.write(b"2")
    assert (first.read_bytes(), second.read_bytes()) == (b"2", b"1")
    assert len(list(tmp_path.iterdir())) == 2
