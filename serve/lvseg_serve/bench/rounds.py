"""Subjects called in turn, one caller at a time, so that a machine that slows down slows them all."""

import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from lvseg.cli import notice
from lvseg.errors import EngineError, LvsegError
from lvseg_export.engines.base import Split
from lvseg_serve.answers import StageTimings
from lvseg_serve.bench.rows import Failure, Result, Row, Stages, Subject
from lvseg_serve.bench.status import status_code

REFERENCE = ("onnxruntime-cpu", "fp32")
"""Engine and precision that ratios are to, where it is among the subjects."""

Call: TypeAlias = Callable[[], StageTimings | None]
"""Does the work once; a server's tells its stages."""


class Callee(NamedTuple):
    """A subject, and how to call it."""

    subject: Subject
    call: Call
    split: Callable[[], Split] | None = None
    """Does the work once, and tells its transfers from its arithmetic; ``None`` for what has, or tells, none."""


class _Calls:
    """What the counted calls of one subject gave."""

    def __init__(self, calls: int) -> None:
        self.times_ms = np.full(calls, math.nan)
        self.timings: list[StageTimings] = []
        self.errors: Counter[str] = Counter()
        self.reason = ""
        """Of the first call that failed."""


def measure(
    callees: Sequence[Callee],
    *,
    calls: int,
    warmup: int,
    advance: Callable[[], object] = lambda: None,
) -> list[Result]:
    """Call every subject in turn, round after round; the rows are in the order of the subjects.

    A call that fails is counted by its status code, and the others go on; a subject of which no counted call
    was answered is a failure. Ratios are to the subject of :func:`reference`, of the rounds in which both
    were answered. What can split its calls does so after the rounds, which that would disturb.

    Args:
        callees: What to measure; at least one.
        calls: Counted rounds.
        warmup: Rounds before those, not counted.
        advance: Called after every round, for a progress display.
    """
    found = [_Calls(calls) for _ in callees]
    for index in range(-warmup, calls):
        for callee, its in zip(callees, found, strict=True):
            _call(callee.call, its, index)
        advance()
    subjects = [callee.subject for callee in callees]
    answered = [bool(np.isfinite(its.times_ms).any()) for its in found]
    per_slice = [its.times_ms / subject.batch for subject, its in zip(subjects, found, strict=True)]
    results: list[Result] = []
    for at, (subject, its) in enumerate(zip(subjects, found, strict=True)):
        if answered[at]:
            against = reference(subjects, answered, subject.batch)
            ratio = _median_ratio(per_slice[at], per_slice[against])
            split = _median_split(callees[at], calls=calls, warmup=warmup)
            results.append(_row(subject, its, ratio, split))
        else:
            results.append(Failure(engine=subject.engine, precision=subject.precision, reason=its.reason))
    return results


def reference(subjects: Sequence[Subject], usable: Sequence[bool], batch: int) -> int:
    """Return which subject the ratio of one with this batch size is to.

    It is ONNX Runtime in fp32 on the CPU, at the same batch size where there is one, else at its first; else
    the first subject that is usable.
    """
    candidates = [at for at, use in enumerate(usable) if use]
    chosen = [at for at in candidates if (subjects[at].engine, subjects[at].precision) == REFERENCE]
    same = [at for at in chosen if subjects[at].batch == batch]
    return (same or chosen or candidates)[0]


def describe_reference(subjects: Sequence[Subject]) -> str:
    """Return what the ratios of measured subjects are to, for people."""
    if any((subject.engine, subject.precision) == REFERENCE for subject in subjects):
        return f"{' '.join(REFERENCE)} of the same batch"
    return f"the first row, {subjects[0].engine} {subjects[0].precision}"


def _call(call: Call, its: _Calls, index: int) -> None:
    """Call once; what is before the first counted round is a warm-up."""
    started = time.perf_counter()
    try:
        timings = call()
    except LvsegError as error:
        if index >= 0:
            its.errors[status_code(error)] += 1
            its.reason = its.reason or str(error)
        return
    if index >= 0:
        its.times_ms[index] = (time.perf_counter() - started) * 1e3
        if timings is not None:
            its.timings.append(timings)


def _median_split(callee: Callee, *, calls: int, warmup: int) -> Split | None:
    if callee.split is None:
        return None
    try:
        splits = [callee.split() for _ in range(warmup + calls)][warmup:]
    except EngineError as error:
        notice(f"{callee.subject.key}: its transfers are not told: {error}")
        return None
    return Split(*(float(np.median(part)) for part in zip(*splits, strict=True)))


def _row(subject: Subject, its: _Calls, ratio: float | None, split: Split | None) -> Row:
    latencies_ms = its.times_ms[np.isfinite(its.times_ms)]
    return Row(
        subject=subject,
        latencies_ms=tuple(latencies_ms.tolist()),
        calls_per_s=float(1e3 * len(latencies_ms) / latencies_ms.sum()),
        ratio=ratio,
        stages=Stages.of(latencies_ms.tolist(), its.timings) if its.timings else None,
        split=split,
        errors=dict(its.errors),
    )


def _median_ratio(times_ms: NDArray[np.float64], reference_ms: NDArray[np.float64]) -> float | None:
    ratios = times_ms / reference_ms
    answered = ratios[np.isfinite(ratios)]
    return float(np.median(answered)) if len(answered) else None
