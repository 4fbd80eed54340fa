"""The options of a command from a TOML file."""

import tomllib
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import click

from lvseg.errors import OptionError

_Command = TypeVar("_Command", bound=Callable[..., Any])
_OF_THE_COMMAND_LINE = {"config", "check", "help"}
"""What has no place in a file."""


def config_option() -> Callable[[_Command], _Command]:
    """Give a command ``--config``, whose file takes the place of defaults; options and the environment go before it."""
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        is_eager=True,
        expose_value=False,
        callback=_take,
        help="TOML file with options by their names, such as max-pending = 64. Options and environment go before it.",
    )


def _take(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    if path is not None:
        context.default_map = read_config(path, context.command)


def read_config(path: Path, command: click.Command) -> dict[str, Any]:
    """Return what a file says for the parameters of a command, by the names that click gives them.

    Args:
        path: A TOML file. A key is an option without its dashes, or ``bundle``; relative paths count from the folder
            that the command is started in, as they do on the command line.
        command: Whose options it holds.

    Raises:
        OptionError: If it cannot be read, is no TOML, or has a key or a type of value that the command has not; the
            message names the key, and the nearest one that there is.
    """
    try:
        found = tomllib.loads(path.read_text())
    except OSError as error:
        raise _wrong(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _wrong(f"{path} is not TOML: {error}") from error
    known = {_key(parameter): parameter for parameter in command.params}
    known = {key: parameter for key, parameter in known.items() if key not in _OF_THE_COMMAND_LINE}
    return {
        known[key].name or "": _value(path, key, value, known[key])
        for key, value in _checked(path, found, known)
    }


def _checked(path: Path, found: dict[str, Any], known: dict[str, click.Parameter]) -> list[tuple[str, Any]]:
    for key in found:
        if key not in known:
            near = get_close_matches(key.replace("_", "-"), known, n=1)
            expected = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
            raise _wrong(f"{path}: unknown key {key}; {expected}")
    return list(found.items())


def _key(parameter: click.Parameter) -> str:
    return max(parameter.opts, key=len).lstrip("-")


def _value(path: Path, key: str, value: Any, parameter: click.Parameter) -> Any:
    flag = isinstance(parameter, click.Option) and parameter.is_flag
    if flag != isinstance(value, bool) or not isinstance(value, bool | int | float | str):
        expected = "true or false" if flag else "a number or a string in quotes"
        raise _wrong(f"{path}: {key} is {value!r}, expected {expected}")
    return value


def _wrong(message: str) -> OptionError:
    return OptionError(message, reason="BAD_CONFIG", field="--config")
