"""Options of lvseg-serve from a file and the environment, as click hands them to the command."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lvseg.errors import OptionError
from lvseg_serve.cli import main

Parse = Callable[..., dict[str, Any]]


@pytest.fixture
def parse(tmp_path: Path) -> Parse:
    """Return the parameters that the command gets with a file and arguments."""

    def parse(text: str, *arguments: str) -> dict[str, Any]:
        path = tmp_path / "lvseg-serve.toml"
        path.write_text(text)
        return main.make_context("lvseg-serve", ["--config", str(path), *arguments]).params

    return parse


def test_a_file_goes_before_the_default(parse: Parse) -> None:
    assert parse("max-pending = 5")["max_pending"] == 5
    assert parse("")["max_pending"] == 64


def test_the_environment_goes_before_the_file(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVSEG_SERVE_MAX_PENDING", "6")
    assert parse("max-pending = 5")["max_pending"] == 6


def test_an_option_goes_before_the_environment(parse: Parse, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LVSEG_SERVE_MAX_PENDING", "6")
    assert parse("max-pending = 5", "--max-pending", "7")["max_pending"] == 7


def test_the_file_itself_may_come_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("max-pending = 5")
    monkeypatch.setenv("LVSEG_SERVE_CONFIG", str(tmp_path / "file"))
    assert main.make_context("lvseg-serve", []).params["max_pending"] == 5


def test_keys_are_options_without_dashes_and_values_are_converted_as_theirs(parse: Parse) -> None:
    found = parse('bundle = "b"\nengine = "openvino"\nkserve = true\nbatch-budget-ms = 5\nbundles = "/srv"')
    assert found["bundle"] == Path("b")
    assert (found["runtime"], found["kserve"], found["batch_budget_ms"]) == ("openvino", True, 5.0)
    assert found["bundles"] == Path("/srv")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("max-pendng = 5", r"unknown key max-pendng; did you mean max-pending\?"),
        ("max_pending = 5", r"unknown key max_pending; did you mean max-pending\?"),
        ("runtime = 'openvino'", "unknown key runtime; known are admin, admin-client-ca, "),
        ("config = 'other'", "unknown key config"),
        ("check = true", "unknown key check"),
        ("max-pending = true", "max-pending is True, expected a number or a string in quotes"),
        ("kserve = 1", "kserve is 1, expected true or false"),
        ("[max-pending]\nslices = 5", "max-pending is {'slices': 5}, expected a number"),
        ("max-pending", "is not TOML"),
    ],
)
def test_what_cannot_be_used_is_named(parse: Parse, text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse(text)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"none\.toml cannot be read: No such file"):
        main.make_context("lvseg-serve", ["--config", str(tmp_path / "none.toml")])
