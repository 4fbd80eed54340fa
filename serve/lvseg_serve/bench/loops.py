"""A server under load: callers that wait for their answers, and callers that do not.

Closed loop: each of some callers sends its next slice when it has the answer to the one before. A server that
stalls is sent nothing meanwhile, so a stall is one long latency for each caller, however many a ward would
have sent.

Open loop: slices are sent at times that were fixed beforehand, whatever the server does. A latency counts
from the time at which its slice was to be sent, so that what queued behind a stall shows it, also where this
process itself was late ("coordinated omission" is what counting otherwise is called).
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Protocol

import numpy as np

from lvseg.errors import LvsegError
from lvseg_serve.answers import Segmentation, StageTimings
from lvseg_serve.bench.rows import Failure, Result, Row, Stages, Subject
from lvseg_serve.bench.status import status_code

_SEED = 0


class SegmentsSlices(Protocol):
    """What is loaded: an :class:`~lvseg_serve.client.AsyncClient`."""

    async def segment(self, dicom: bytes) -> Segmentation:
        """Segment one slice."""
        ...


@dataclass
class Load:
    """What a loop has seen."""

    latencies_ms: list[float] = field(default_factory=list)
    """Of answers."""
    timings: list[StageTimings] = field(default_factory=list)
    """Of the same answers."""
    errors: Counter[str] = field(default_factory=Counter)
    """Failed calls by status code."""
    reason: str = ""
    """Of the first call that failed."""
    seconds: float = 0.0
    """From the loop's start to its last answer."""

    async def call(self, client: SegmentsSlices, dicom: bytes, since: float) -> float:
        """Send one slice; its latency counts from ``since``, a time of ``perf_counter``.

        Return for how many seconds the server asks not to be called again.
        """
        try:
            answer = await client.segment(dicom)
        except LvsegError as error:
            self.errors[status_code(error)] += 1
            self.reason = self.reason or str(error)
            return getattr(error, "retry_after_s", None) or 0.0
        self.latencies_ms.append((perf_counter() - since) * 1e3)
        self.timings.append(answer.timings)
        return 0.0

    def result(self, subject: Subject) -> Result:
        """Return the row of a server, or why there is none."""
        if not self.latencies_ms:
            return Failure(
                engine=f"{subject.engine}, {subject.loop}",
                precision=subject.precision,
                reason=f"none of {self.errors.total()} calls was answered ({errors_text(self.errors)}): {self.reason}",
            )
        return Row(
            subject=subject,
            latencies_ms=tuple(self.latencies_ms),
            calls_per_s=len(self.latencies_ms) / self.seconds,
            stages=Stages.of(self.latencies_ms, self.timings),
            errors=dict(self.errors),
        )


async def closed_loop(client: SegmentsSlices, dicom: bytes, *, callers: int, seconds: float) -> Load:
    """Let some callers send one slice after the other, each when it has its answer.

    Args:
        client: Of the server.
        dicom: The slice.
        callers: How many at a time.
        seconds: For how long slices are sent; answers are waited for.
    """
    load = Load()
    started = perf_counter()

    async def caller() -> None:
        while (now := perf_counter()) < started + seconds:
            await asyncio.sleep(await load.call(client, dicom, now))

    await asyncio.gather(*(caller() for _ in range(callers)))
    load.seconds = perf_counter() - started
    return load


async def open_loop(client: SegmentsSlices, dicom: bytes, *, at_s: Sequence[float]) -> Load:
    """Send slices at the times that were given, whatever became of those before.

    Args:
        client: Of the server.
        dicom: The slice.
        at_s: When each is to be sent, in ascending order, in seconds from now.
    """
    load = Load()
    started = perf_counter()
    async with asyncio.TaskGroup() as calls:
        for intended in at_s:
            await asyncio.sleep(max(0.0, started + intended - perf_counter()))
            calls.create_task(load.call(client, dicom, started + intended))
    load.seconds = perf_counter() - started
    return load


def poisson_times_s(rate: float, seconds: float) -> list[float]:
    """Return when slices are to be sent that come independently of each other: ``rate`` times ``seconds`` of them.

    Each time is drawn evenly, which is what the times of a Poisson process are once their number is known. The
    seed is fixed: the same rate and time give the same schedule, so that two servers, or two versions of one,
    meet the same bursts.
    """
    times_s = np.random.default_rng(_SEED).uniform(0, seconds, round(rate * seconds))
    return sorted(times_s.tolist())


def errors_text(errors: Mapping[str, int]) -> str:
    """Return how many calls failed with which code, such as ``"INTERNAL 3, UNAVAILABLE 12"``."""
    return ", ".join(f"{code} {count}" for code, count in sorted(errors.items()))
