"""The options of a command that says of itself what it does: its log and its metrics."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from lvseg.cli import option_group
from lvseg.errors import OptionError
from lvseg_serve.address import is_loopback, parse_address
from lvseg_serve.logs import LogFormat

LOG_LEVELS = ("debug", "info", "warning", "error")

_Command = TypeVar("_Command", bound=Callable[..., Any])


def observation_options() -> Callable[[_Command], _Command]:
    """Give a command the options of which :func:`to_observation` makes one value."""
    return option_group(
        click.option(
            "--log-format",
            type=click.Choice([choice.value for choice in LogFormat]),
            default=LogFormat.TEXT.value,
            show_default=True,
            help="The log on standard error: text for people, or one JSON object a line.",
        ),
        click.option(
            "--log-level",
            type=click.Choice(LOG_LEVELS),
            default="info",
            show_default=True,
            help="The least that is logged: info tells of each call, debug of health checks too.",
        ),
        click.option(
            "--metrics",
            metavar="HOST:PORT",
            help="Where Prometheus gets metrics, by plain HTTP; port 0 takes a free one.  [default: nowhere]",
        ),
        click.option(
            "--metrics-insecure",
            is_flag=True,
            help="Give metrics to whoever reaches an address that is not this machine's alone.",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What a server says of itself, and where."""

    log_format: LogFormat
    log_level: str
    """A level's name, such as ``"INFO"``."""
    metrics: str | None
    """``HOST:PORT`` for metrics; ``None``: nowhere."""


def to_observation(
    *, log_format: str, log_level: str, metrics: str | None, metrics_insecure: bool
) -> Observation:
    """Return one value for the options of :func:`observation_options`.

    Raises:
        OptionError: If ``--metrics`` is no address, or others than this machine reach it and nothing allows that.
    """
    if metrics is not None:
        _check_metrics_address(metrics, insecure=metrics_insecure)
    return Observation(log_format=LogFormat(log_format), log_level=log_level.upper(), metrics=metrics)


OBSERVATION = tuple(inspect.signature(to_observation).parameters)
"""Names of the parameters that :func:`observation_options` gives a command."""


def _check_metrics_address(metrics: str, *, insecure: bool) -> None:
    host, _ = parse_address(metrics, option="--metrics")
    if not insecure and not is_loopback(host):
        raise OptionError(
            f"--metrics {metrics}: whoever reaches this address may read the metrics, which know neither TLS nor "
            "tokens; listen on 127.0.0.1, or allow it with --metrics-insecure",
            reason="METRICS_INSECURE",
            field="--metrics",
            expected="a loopback address",
        )
