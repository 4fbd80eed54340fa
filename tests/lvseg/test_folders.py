import pytest

from lvseg.errors import OptionError
from lvseg.folders import check_free, new_folder


def test_a_new_folder_appears_when_the_block_ends(tmp_path):
    with new_folder(tmp_path / "out", signature="it.json") as folder:
        (folder / "it.json").write_text("{}")
        assert not (tmp_path / "out").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_an_error_leaves_a_former_result_untouched(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "it.json").write_text("former")
    with pytest.raises(RuntimeError), new_folder(tmp_path / "out", signature="it.json", overwrite=True):
        raise RuntimeError
    assert (tmp_path / "out" / "it.json").read_text() == "former"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_overwriting_replaces_a_former_result_whole(tmp_path):
    (tmp_path / "out").mkdir()
    for name in ("it.json", "old.png"):
        (tmp_path / "out" / name).write_text("former")
    with new_folder(tmp_path / "out", signature="it.json", overwrite=True) as folder:
        (folder / "it.json").write_text("new")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["it.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_former_result_is_kept_unless_overwriting_is_asked_for(tmp_path):
    (tmp_path / "it.json").touch()
    with pytest.raises(OptionError, match="pass --overwrite"):
        check_free(tmp_path, signature="it.json", overwrite=False)


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(OptionError, match=r"is not a former result \(it holds no it.json\)"):
        check_free(tmp_path, signature="it.json", overwrite=True)


def test_a_file_in_the_way_is_refused(tmp_path):
    (tmp_path / "out").touch()
    with pytest.raises(OptionError, match="is not a former result"):
        check_free(tmp_path / "out", signature="it.json", overwrite=True)


def test_an_empty_folder_is_free(tmp_path):
    check_free(tmp_path, signature="it.json", overwrite=False)


def test_the_working_directory_is_never_replaced(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="is the folder that you are in"):
        check_free(tmp_path.relative_to(tmp_path), signature="it.json", overwrite=True)


def test_a_folder_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match="file is a file: choose another --out"):
        check_free(tmp_path / "file" / "out", signature="it.json", overwrite=False)
