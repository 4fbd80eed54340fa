"""What every lvseg command shares: one-line errors, exit codes, missing extras, progress bars."""

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from lvseg.errors import LvsegError, WeightsError, missing_extra

console = Console(stderr=True)

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Command(click.Command):
    """A click command whose errors end in one line: exit code 2 for what the user must change, 1 for the rest."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.context_settings = {
            "help_option_names": ["-h", "--help"],
            "max_content_width": 110,
            **self.context_settings,
        }

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the command; click's own three-line usage errors become one line too."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        try:
            sys.exit(super().main(args, prog_name, complete_var, standalone_mode=False, **extra) or 0)
        except click.UsageError as error:
            _fail(f"{error.format_message().rstrip('.')}; see --help", error.exit_code)
        except click.ClickException as error:
            _fail(error.format_message(), error.exit_code)
        except LvsegError as error:
            if isinstance(error, WeightsError) and error.table:
                click.echo(error.table, err=True)
            _fail(str(error), error.exit_code)
        except OSError as error:
            named = f"{error.filename}: " if error.filename else ""
            _fail(f"{named}{error.strerror or error}", 1)
        except (click.Abort, KeyboardInterrupt):
            _fail("interrupted", 130)


def _fail(message: str, exit_code: int) -> None:
    one_line = " ".join(message.split())
    click.echo(f"error: {one_line}", err=True)
    sys.exit(exit_code)


def option_group(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Return one decorator that gives a command several options, which its help shows in this order."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def run_command(module: str, *, extra: str = "") -> None:
    """Import ``module`` and run its ``main``; a missing extra is one line that says how to install it.

    Args:
        module: Dotted name of the module that holds the click command ``main``.
        extra: The optional dependency group that the command needs, such as ``"train"``.
    """
    try:
        command: Command = importlib.import_module(module).main
    except ModuleNotFoundError as error:
        if not extra or (error.name or "").split(".")[0].startswith("lvseg"):
            raise
        missing = missing_extra(error.name, extra)
        _fail(str(missing), missing.exit_code)
    command.main()


def notice(message: str) -> None:
    """Tell the user something on standard error, in one line and as it is."""
    console.print(message, highlight=False, markup=False, soft_wrap=True)


def progress() -> Progress:
    """Return a progress display on standard error: description, bar, count and elapsed time."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=console,
    )
