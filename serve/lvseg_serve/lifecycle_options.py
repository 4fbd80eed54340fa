"""The options of lvseg-serve that say how it is watched, swapped and stopped."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import click

from lvseg.cli import option_group
from lvseg_serve import defaults
from lvseg_serve.canary import DEFAULT_CANARIES, CanarySettings

_Command = TypeVar("_Command", bound=Callable[..., Any])


def lifecycle_options() -> Callable[[_Command], _Command]:
    """Give a command ``--grace-s``, and the options of which :func:`to_canaries` makes one value."""
    return option_group(
        click.option(
            "--grace-s",
            type=click.FloatRange(min=0),
            default=defaults.GRACE_S,
            show_default=True,
            help="Seconds for slices under way when it is told to stop.",
        ),
        click.option(
            "--canary-every-s",
            type=click.FloatRange(min=0, min_open=True),
            default=DEFAULT_CANARIES.every_s,
            show_default=True,
            help="Seconds from one canary, a phantom of the bundle whose mask is known, to the next.",
        ),
        click.option(
            "--canary-failures",
            type=click.IntRange(min=1),
            default=DEFAULT_CANARIES.failures,
            show_default=True,
            help="Canaries that may fail in a row; then the process ends with exit code 3.",
        ),
    )


def to_canaries(*, canary_every_s: float, canary_failures: int) -> CanarySettings:
    """Return the options about canaries as one value."""
    return CanarySettings(every_s=canary_every_s, failures=canary_failures)


CANARIES = tuple(inspect.signature(to_canaries).parameters)
"""Names of the parameters that :func:`lifecycle_options` gives a command beside ``grace_s``."""
