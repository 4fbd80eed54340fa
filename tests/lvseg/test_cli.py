import errno

import click
import pytest
from click.testing import CliRunner

from lvseg.cli import Command, run_command
from lvseg.errors import EngineError, OptionError


def run(error: BaseException | None = None, arguments: tuple[str, ...] = ()) -> tuple[int, str]:
    @click.command(cls=Command)
    @click.option("--count", type=int)
    def command(count: int | None) -> None:
        if error:
            raise error

    result = CliRunner().invoke(command, arguments)
    return result.exit_code, result.stderr


def test_a_command_that_succeeds_says_nothing_and_ends_with_0():
    assert run() == (0, "")


def test_input_that_the_user_must_change_ends_with_2():
    assert run(OptionError("no such thing; pass another", reason="X")) == (
        2,
        "error: no such thing; pass another\n",
    )


def test_a_failure_at_run_time_ends_with_1():
    assert run(EngineError("the engine failed")) == (1, "error: the engine failed\n")


def test_a_message_of_several_lines_becomes_one():
    assert run(EngineError("first\n   second")) == (1, "error: first second\n")


def test_an_operating_system_error_names_the_file():
    full = OSError(errno.ENOSPC, "No space left on device", "/runs/a/last.ckpt")
    assert run(full) == (1, "error: /runs/a/last.ckpt: No space left on device\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--count", "many"),
            "error: Invalid value for '--count': 'many' is not a valid integer; see --help\n",
        ),
        (("--size", "3"), "error: No such option '--size'; see --help\n"),
    ],
)
def test_wrong_usage_is_one_line_and_ends_with_2(arguments, message):
    code, stderr = run(arguments=arguments)
    assert code == 2
    assert stderr.startswith(message.split(";")[0])
    assert len(stderr.splitlines()) == 1


def test_an_error_that_nobody_foresaw_keeps_its_trace():
    with pytest.raises(ZeroDivisionError):
        CliRunner().invoke(_dividing(), catch_exceptions=False)


def _dividing() -> Command:
    @click.command(cls=Command)
    def command() -> None:
        raise ZeroDivisionError

    return command


def test_a_missing_extra_is_one_line_that_mends_it(monkeypatch, tmp_path, capsys):
    (tmp_path / "needs_more.py").write_text("import a_package_that_is_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SystemExit) as caught:
        run_command("needs_more", extra="train")
    assert caught.value.code == 2
    assert capsys.readouterr().err == (
        "error: a_package_that_is_not_installed is not installed; run: pip install 'lvseg[train]'\n"
    )


def test_a_missing_module_of_our_own_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError, match="lvseg_nothing"):
        run_command("lvseg_nothing.cli", extra="train")
