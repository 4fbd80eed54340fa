"""The options of every command that runs a bundle."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from lvseg.cli import option_group
from lvseg_export.choice import AUTO, PRECISIONS, RUNTIMES
from lvseg_export.engines.plans import PlanOptions, Profile

_Command = TypeVar("_Command", bound=Callable[..., Any])


def engine_options(
    *, engines: tuple[str, ...] = (AUTO, *RUNTIMES), precision: str = AUTO
) -> Callable[[_Command], _Command]:
    """Give a command ``--engine``, ``--precision`` and ``--threads``: ``runtime``, ``precision``, ``threads``.

    Args:
        engines: What ``--engine`` may be.
        precision: The default of ``--precision``.
    """
    return option_group(
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
            help="CPU threads for one run; a server has as many runs beside each other as that leaves processors for.  "
            "[default: all that this process may use]",
        ),
    )


def plan_options() -> Callable[[_Command], _Command]:
    """Give a command TensorRT's options, of which :func:`to_plans` makes one value."""
    profile = Profile()
    numbers = (
        ("--batch-opt", profile.batch_opt, "Slices in a batch that TensorRT shall be fastest at."),
        ("--batch-max", profile.batch_max, "Most slices that TensorRT shall take at once."),
        ("--side-opt", profile.side_opt, "Rows and columns that TensorRT shall be fastest at."),
        ("--side-max", profile.side_max, "Most rows or columns of a slice that TensorRT shall take."),
    )
    return option_group(
        *(
            click.option(name, type=click.IntRange(min=1), default=default, show_default=True, help=help_)
            for name, default, help_ in numbers
        ),
        click.option(
            "--engine-cache",
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder for what TensorRT builds.  [default: lvseg/engines in the user's cache folder]",
        ),
    )


def to_plans(
    *, batch_opt: int, batch_max: int, side_opt: int, side_max: int, engine_cache: Path | None
) -> PlanOptions:
    """Return TensorRT's options from those of a command.

    Raises:
        OptionError: If they contradict each other.
    """
    profile = Profile(batch_opt=batch_opt, batch_max=batch_max, side_opt=side_opt, side_max=side_max)
    return PlanOptions(profile=profile, folder=engine_cache)


def given_plan_options() -> list[str]:
    """Return which of TensorRT's options the command that runs was given, such as ``"--batch-max"``."""
    source_of = click.get_current_context().get_parameter_source
    names = (*(field.name for field in dataclasses.fields(Profile)), "engine_cache")
    return [_option(name) for name in names if source_of(name) is not ParameterSource.DEFAULT]


def from_plans(plans: PlanOptions) -> str:
    """Return the options by which another command finds plans, beside what is the default; empty for none."""
    default, numbers = dataclasses.asdict(Profile()), dataclasses.asdict(plans.profile)
    words = [f"{_option(name)} {value}" for name, value in numbers.items() if value != default[name]]
    if plans.folder is not None:
        words.append(f"--engine-cache {plans.folder}")
    return " ".join(words)


def _option(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"
