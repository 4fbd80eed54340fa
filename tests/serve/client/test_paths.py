from pathlib import Path

import pytest

from lvseg_serve.client.paths import absolute, result_names


@pytest.mark.parametrize(
    ("files", "names"),
    [
        (["/data/x.dcm"], ["x"]),
        (["/data/1/x.dcm", "/data/2/x.dcm"], ["1/x", "2/x"]),
        (["/data/x.dcm", "/data/2/y"], ["x", "2/y"]),
        (["/data/x.dcm", "/data/x.ima"], ["x.dcm", "x.ima"]),
        (["/data/MR.1.2", "/data/MR.1.3"], ["MR.1.2", "MR.1.3"]),
        (["/data/2/../1/x.dcm", "/data/2/x.dcm"], ["1/x", "2/x"]),
    ],
)
def test_results_are_named_after_their_files_below_the_common_folder(
    files: list[str], names: list[str]
) -> None:
    assert result_names([Path(file) for file in files]) == names


def test_a_path_is_the_same_from_wherever_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert absolute(Path("a/../x.dcm")) == tmp_path / "x.dcm"


def test_a_link_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "x.dcm").symlink_to(tmp_path / "content")
    assert absolute(tmp_path / "x.dcm") == tmp_path / "x.dcm"
