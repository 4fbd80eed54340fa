"""The options of lvseg-serve that say how much it takes on, and what it gives it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from lvseg.cli import option_group
from lvseg_serve import defaults
from lvseg_serve.batching import DEFAULT_BATCHES, BatchSettings
from lvseg_serve.segmenter import Room
from lvseg_serve.workers.limits import DEFAULT_LIMITS, WorkerLimits
from lvseg_serve.workers.pool import default_count

_Command = TypeVar("_Command", bound=Callable[..., Any])


def capacity_options() -> Callable[[_Command], _Command]:
    """Give a command the options of which :func:`to_capacity` makes one value."""
    return option_group(
        click.option(
            "--max-message-mib",
            type=click.IntRange(min=1, max=2047),
            default=defaults.MAX_MESSAGE_MIB,
            show_default=True,
            help="Largest message that is accepted, in MiB.",
        ),
        click.option(
            "--max-pending",
            type=click.IntRange(min=1),
            default=defaults.MAX_PENDING,
            show_default=True,
            help="Slices that are taken before the first of them is answered; a further one is told to come again.",
        ),
        click.option(
            "--max-pending-mib",
            type=click.IntRange(min=1),
            default=defaults.MAX_PENDING_MIB,
            show_default=True,
            help="Size of the files of these slices, and of those that wait in streams, in MiB.",
        ),
        click.option(
            "--max-batch",
            type=click.IntRange(min=1),
            default=DEFAULT_BATCHES.max_size,
            show_default=True,
            help="Waiting slices that go into the engine together, at most.",
        ),
        click.option(
            "--batch-budget-ms",
            type=click.FloatRange(min=0),
            default=DEFAULT_BATCHES.budget_ms,
            show_default=True,
            help="How long that may take, going by the engine's speed so far; a slice alone may always take longer.",
        ),
        click.option(
            "--workers",
            type=click.IntRange(min=1),
            help="Processes that read slices.  [default: one for each processor, and two at least]",
        ),
        click.option(
            "--worker-memory-mib",
            type=click.IntRange(min=64),
            default=DEFAULT_LIMITS.memory_bytes // 2**20,
            show_default=True,
            help="Memory that reading one slice may take, in MiB.",
        ),
        click.option(
            "--worker-cpu-s",
            type=click.IntRange(min=1),
            default=DEFAULT_LIMITS.cpu_s,
            show_default=True,
            help="Processor time that reading one slice may take, in seconds.",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """How much a server takes on, and what it gives it."""

    max_message_bytes: int
    room: Room
    batches: BatchSettings
    workers: int
    worker_limits: WorkerLimits


def to_capacity(
    *,
    max_message_mib: int,
    max_pending: int,
    max_pending_mib: int,
    max_batch: int,
    batch_budget_ms: float,
    workers: int | None,
    worker_memory_mib: int,
    worker_cpu_s: int,
) -> Capacity:
    """Return one value for the options of :func:`capacity_options`."""
    return Capacity(
        max_message_bytes=max_message_mib * 2**20,
        room=Room(slices=max_pending, file_bytes=max_pending_mib * 2**20),
        batches=BatchSettings(max_size=max_batch, budget_ms=batch_budget_ms),
        workers=workers or default_count(),
        worker_limits=WorkerLimits(memory_bytes=worker_memory_mib * 2**20, cpu_s=worker_cpu_s),
    )


CAPACITY = tuple(inspect.signature(to_capacity).parameters)
"""Names of the parameters that :func:`capacity_options` gives a command."""
