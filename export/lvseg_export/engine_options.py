"""The options of every command that runs a bundle."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lvseg_export.choice import AUTO, PRECISIONS, RUNTIMES

_Command = TypeVar("_Command", bound=Callable[..., Any])


def engine_options(
    *, engines: tuple[str, ...] = (AUTO, *RUNTIMES), precision: str = AUTO
) -> Callable[[_Command], _Command]:
    """Give a command ``--engine``, ``--precision`` and ``--threads``: ``runtime``, ``precision``, ``threads``.

    Args:
        engines: What ``--engine`` may be.
        precision: The default of ``--precision``.
    """
    options = (
        click.option(
            "--engine",
            "runtime",
            type=click.Choice(engines),
            default=AUTO,
            show_default=True,
            help="What runs the model; auto takes the fastest that this machine can run.",
        ),
        click.option(
            "--precision",
            type=click.Choice((AUTO, *PRECISIONS)),
            default=precision,
            show_default=True,
            help="Arithmetic of the network; auto takes the fastest that the bundle has a file for.",
        ),
        click.option(
            "--threads",
            type=click.IntRange(min=1),
            help="CPU threads for one run.  [default: all that this process may use]",
        ),
    )

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate
