"""Latency and throughput of engines and servers, measured side by side."""

import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np


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


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of a subject, over all counted calls."""

    engine: str
    precision: str
    batch: int
    threads: int
    calls: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    slices_per_s: float
    """Slices by the time that the calls took, one caller at a time."""
    ratio: float
    """Median over the rounds of this subject's time by the first subject's, slice for slice."""


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
    times_ms = np.empty((calls, len(subjects)))
    for index in range(-warmup, calls):
        for column, subject in enumerate(subjects):
            started = time.perf_counter()
            subject.call()
            if index >= 0:
                times_ms[index, column] = (time.perf_counter() - started) * 1e3
        advance()
    per_slice_ms = times_ms / [subject.batch for subject in subjects]
    ratios = np.median(per_slice_ms / per_slice_ms[:, :1], axis=0)
    return [_row(subject, times_ms[:, column], ratios[column]) for column, subject in enumerate(subjects)]


def _row(subject: Subject, times_ms: np.ndarray, ratio: float) -> Row:
    p50_ms, p90_ms, p99_ms = (float(value) for value in np.percentile(times_ms, (50, 90, 99)))
    return Row(
        engine=subject.engine,
        precision=subject.precision,
        batch=subject.batch,
        threads=subject.threads,
        calls=len(times_ms),
        p50_ms=p50_ms,
        p90_ms=p90_ms,
        p99_ms=p99_ms,
        slices_per_s=float(1e3 * subject.batch * len(times_ms) / times_ms.sum()),
        ratio=float(ratio),
    )


def environment() -> dict[str, str | int]:
    """Return what the figures depend on: processor, CPUs that this process may use, versions."""
    packages = ("lvseg", "onnxruntime", "numpy", "grpcio", "pydicom")
    return {
        "cpu": _cpu_model(),
        "cpus": len(os.sched_getaffinity(0)),
        "platform": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()
