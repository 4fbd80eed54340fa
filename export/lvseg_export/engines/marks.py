"""A run on a GPU, part by part: the engine marks where one part ends and the next begins."""

from collections.abc import Callable
from itertools import pairwise
from time import perf_counter
from typing import TypeAlias

from lvseg_export.engines.base import Split

Mark: TypeAlias = Callable[[], object]
"""Called by a run before, between and after its three parts: pixels to the GPU, the network, answers back."""


def no_mark() -> None:
    """Mark nothing, in a run that nobody splits."""


def split_by_clock(run: Callable[[Mark], object], wait: Callable[[], object] = lambda: None) -> Split:
    """Split a run by the clock of the host.

    Args:
        run: Runs once, and calls what it is given at each mark.
        wait: Returns when the GPU has done all that it was given.
    """
    marks_s: list[float] = []

    def mark() -> None:
        wait()
        marks_s.append(perf_counter())

    run(mark)
    return Split(*((later - earlier) * 1e3 for earlier, later in pairwise(marks_s)))
