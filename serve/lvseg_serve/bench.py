"""Latency and throughput of engines and servers, measured side by side."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from lvseg_export import cpu


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One thing to measure."""

    engine: str
    """Runtime and device; for a server with the way there, such as ``"onnxruntime-cpu via gRPC"``."""
    precision: str
    batch: int
    """Slices a call."""
    threads: int
    """CPU threads that one call may use."""
    call: Callable[[], object]
    load_ms: float | None = None
    """To load the model, and hold it to nothing yet; ``None`` for a server."""
    dice: float | None = None
    """With the experts' labels, the mean over the slices, where they were given."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of a subject, over all counted calls."""

    engine: str
    precision: str
    batch: int
    threads: int
    load_ms: float | None
    dice: float | None
    first_ms: float
    """The first call of all, which prepares the others."""
    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    slices_per_s: float
    """Slices by the time that the calls took, one caller at a time."""
    ratio: float
    """Median over the rounds of this subject's time by the first subject's, slice for slice."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An engine that could not be measured."""

    engine: str
    precision: str
    reason: str


def measure(
    subjects: Sequence[Subject], *, calls: int, warmup: int, advance: Callable[[], object] = lambda: None
) -> list[Row]:
    """Call every subject in turn, round after round, so that a machine that slows down slows them all.

    Args:
        subjects: What to measure; ratios are to the first.
        calls: Counted rounds.
        warmup: Rounds before those, not counted.
        advance: Called after every round, for a progress display.
    """
    first_ms = [_time_ms(subject) for subject in subjects]
    times_ms = np.empty((calls, len(subjects)))
    for index in range(-warmup, calls):
        for column, subject in enumerate(subjects):
            needed_ms = _time_ms(subject)
            if index >= 0:
                times_ms[index, column] = needed_ms
        advance()
    per_slice_ms = times_ms / [subject.batch for subject in subjects]
    ratios = np.median(per_slice_ms / per_slice_ms[:, :1], axis=0)
    return [
        _row(subject, first_ms[column], times_ms[:, column], ratios[column])
        for column, subject in enumerate(subjects)
    ]


def _time_ms(subject: Subject) -> float:
    started = time.perf_counter()
    subject.call()
    return (time.perf_counter() - started) * 1e3


def _row(subject: Subject, first_ms: float, times_ms: np.ndarray, ratio: float) -> Row:
    p50_ms, p90_ms, p99_ms = (float(value) for value in np.percentile(times_ms, (50, 90, 99)))
    return Row(
        engine=subject.engine,
        precision=subject.precision,
        batch=subject.batch,
        threads=subject.threads,
        load_ms=subject.load_ms,
        dice=subject.dice,
        first_ms=first_ms,
        calls=len(times_ms),
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        slices_per_s=float(1e3 * subject.batch * len(times_ms) / times_ms.sum()),
        ratio=float(ratio),
    )


def environment() -> dict[str, str | int]:
    """Return what the figures depend on: processor, CPUs that this process may use, versions."""
    packages = ("lvseg", "onnxruntime", "openvino", "numpy", "grpcio", "pydicom")
    return {
        "cpu": cpu.model(),
        "cpu_features": " ".join(cpu.features()),
        "cpus": len(os.sched_getaffinity(0)),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed by this name"
