"""What is measured, and what came out: a row of the benchmark's table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from lvseg.errors import EngineError
from lvseg_export.engines.base import Split
from lvseg_serve.answers import StageTimings

ONE_CALLER = "closed 1"
"""Loop of all rows that are measured in turn: one caller, whose next call waits for the one before."""

THROUGH_GRPC = " via gRPC"
"""Ends the engine of a server's row."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One thing to measure, and what is known of it beforehand."""

    engine: str
    """Runtime and device; for a server with the way there, such as ``"onnxruntime-cpu via gRPC"``."""
    precision: str
    batch: int
    """Slices a call."""
    threads: int
    """CPU threads that one call may use."""
    loop: str = ONE_CALLER
    """Who calls, and when."""
    load_ms: float | None = None
    """From the file to an engine, with its library already imported; ``None`` for a server."""
    first_ms: float | None = None
    """The first call of this shape after loading; of a server the first that this benchmark made."""
    dice: float | None = None
    """With the experts' labels, the mean over the slices, where they were given."""
    gflop: float | None = None
    """Arithmetic of one call, in 10⁹ floating-point operations."""
    peak_gflop_per_s: float | None = None
    """What the processor reaches in a float32 matrix multiplication on as many threads."""
    memory_mib: float | None = None
    """Peak of resident memory that the engine and one call cost, in a process of their own."""

    @property
    def key(self) -> "Key":
        """By which the same subject is known in another benchmark."""
        return Key(self.engine, self.precision, self.batch, self.threads, self.loop)


class Key(NamedTuple):
    """What makes two rows comparable."""

    engine: str
    precision: str
    batch: int
    threads: int
    loop: str

    def __str__(self) -> str:
        return f"{self.engine} {self.precision}, batch {self.batch}, {self.threads} thread(s), {self.loop}"


@dataclass(frozen=True, kw_only=True)
class Stages:
    """Where a server's time goes: means over all answers, in milliseconds; together the mean latency."""

    decode_ms: float
    resample_ms: float
    inference_ms: float
    postprocess_ms: float
    rest_ms: float
    """Everything else: waiting for a turn, encoding the mask, gRPC, the way there and back."""

    @classmethod
    def of(cls, latencies_ms: Sequence[float], timings: Sequence[StageTimings]) -> "Stages":
        """Split latencies by what the server told with each answer."""
        decode, resample, inference, postprocess = (
            float(np.mean([getattr(one, f"{stage}_ms") for one in timings]))
            for stage in ("decode", "resample", "inference", "postprocess")
        )
        return cls(
            decode_ms=decode,
            resample_ms=resample,
            inference_ms=inference,
            postprocess_ms=postprocess,
            rest_ms=float(np.mean(latencies_ms)) - (decode + resample + inference + postprocess),
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of a subject, over all counted calls that were answered."""

    subject: Subject
    latencies_ms: tuple[float, ...]
    """Of each call, in the order of their answers; at least one."""
    calls_per_s: float
    ratio: float | None = None
    """Median of its time by the reference's, slice for slice, round by round; ``None`` under load."""
    stages: Stages | None = None
    """Of a server."""
    split: Split | None = None
    """Of an engine on a GPU: the median of each part over calls of their own, made after those of the latencies."""
    errors: Mapping[str, int] = field(default_factory=dict)
    """Calls that failed, by status code: none of them is a latency."""

    @property
    def p50_ms(self) -> float:
        """Median latency."""
        return self._percentile(50)

    @property
    def p90_ms(self) -> float:
        """Latency that a tenth of the calls exceeds."""
        return self._percentile(90)

    @property
    def p99_ms(self) -> float:
        """Latency that a hundredth of the calls exceeds."""
        return self._percentile(99)

    @property
    def max_ms(self) -> float:
        """Longest latency."""
        return max(self.latencies_ms)

    @property
    def slices_per_s(self) -> float:
        """Slices by the time that the calls took."""
        return self.calls_per_s * self.subject.batch

    @property
    def gflop_per_s(self) -> float | None:
        """Arithmetic by the median latency, in 10⁹ operations a second."""
        return None if self.subject.gflop is None else self.subject.gflop / self.p50_ms * 1e3

    @property
    def peak_share(self) -> float | None:
        """That by the processor's peak in float32; int8 and bf16 can exceed 1."""
        if self.gflop_per_s is None or self.subject.peak_gflop_per_s is None:
            return None
        return self.gflop_per_s / self.subject.peak_gflop_per_s

    def _percentile(self, percent: float) -> float:
        return float(np.percentile(self.latencies_ms, percent))


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An engine or a server that could not be measured."""

    engine: str
    precision: str
    reason: str


Result: TypeAlias = Row | Failure


def none_measured(failures: Sequence[Failure]) -> EngineError:
    """Return the error of a benchmark without a row: why there is none."""
    return EngineError(
        "; ".join(f"{failure.engine} {failure.precision}: {failure.reason}" for failure in failures)
    )
