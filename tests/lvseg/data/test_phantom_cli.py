from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lvseg.data.cli import main as data
from lvseg.data.phantom_cli import main

SMALL = ("--patients", "2", "--slices", "3", "--phases", "4", "--size", "64")


def invoke(*options: str | Path) -> Result:
    return CliRunner().invoke(main, [str(option) for option in options])


def test_it_writes_a_data_set_and_says_how_to_use_it(tmp_path: Path) -> None:
    out = tmp_path / "phantom"

    result = invoke("--out", out, *SMALL)

    assert result.exit_code == 0
    assert (out / "phantom.json").is_file()
    assert "SC-PH-02" in result.stdout
    assert f"--images {out}/challenge_training --contours {out}/contours" in result.stdout


def test_lvseg_data_takes_the_folders_that_it_names(tmp_path: Path) -> None:
    out = tmp_path / "phantom"
    told = invoke("--out", out, *SMALL).stdout
    command = next(line.partition("lvseg-data ")[2] for line in told.splitlines() if "lvseg-data " in line)

    result = CliRunner().invoke(data, [*command.split(), "--validate", "SC-PH-02"])

    assert result.exit_code == 0
    assert "Every label can be used" in result.stdout


def test_all_phases_writes_every_frame(tmp_path: Path) -> None:
    invoke("--out", tmp_path / "phantom", "--all-phases", *SMALL)

    assert len(list((tmp_path / "phantom").rglob("*.dcm"))) == 2 * 3 * 4


def test_an_existing_data_set_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    invoke("--out", tmp_path / "phantom", *SMALL)

    result = invoke("--out", tmp_path / "phantom", *SMALL)

    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "--overwrite" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_overwrite_replaces_a_former_data_set(tmp_path: Path) -> None:
    out = tmp_path / "phantom"
    invoke("--out", out, *SMALL)
    former = (out / "phantom.json").read_text()

    assert invoke("--out", out, "--overwrite", "--seed", "9", *SMALL).exit_code == 0
    assert (out / "phantom.json").read_text() != former


@pytest.mark.parametrize(
    ("option", "value"), [("--patients", "0"), ("--size", "10"), ("--phases", "1"), ("--seed", "-1")]
)
def test_a_number_out_of_range_is_one_line_and_exit_code_2(tmp_path: Path, option: str, value: str) -> None:
    result = invoke("--out", tmp_path / "phantom", option, value)

    assert result.exit_code == 2
    assert option in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "phantom").exists()
