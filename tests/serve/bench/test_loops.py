"""Loops against a real server, and against a client that notes when it is called."""

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import numpy as np
import pytest
from numpy.typing import NDArray

from lvseg.errors import ServerError
from lvseg_export.engines.base import Engine, Prediction
from lvseg_serve.bench.loops import Load, closed_loop, open_loop, poisson_times_s
from lvseg_serve.bench.rows import Failure, Row, Subject
from lvseg_serve.client import AsyncClient

Serving = Callable[[Engine], AbstractContextManager[str]]

SUBJECT = Subject(engine="threshold-cpu via gRPC", precision="fp32", batch=1, threads=1, loop="open 20/s")
STALL_S = 1.0
LONG_MS = 400.0


class StallsOnce:
    """An engine whose fifth run takes a second."""

    name, version, file, precision = "stalling-cpu", "1.0", "model.onnx", "fp32"
    threads = concurrency = 1

    def __init__(self) -> None:
        self._runs = 0
        self._lock = threading.Lock()

    def run(self, pixels: NDArray[np.float32]) -> Prediction:
        with self._lock:
            self._runs += 1
            if self._runs == 5:
                time.sleep(STALL_S)
        mask = pixels[:, 0] > 500
        return Prediction(mask.astype(np.uint8), mask.astype(np.float32))


def long_ones(load: Load) -> int:
    return sum(latency > LONG_MS for latency in load.latencies_ms)


async def test_what_queued_behind_a_stall_shows_in_the_open_loop_alone(serving: Serving, dicom: bytes):
    with serving(StallsOnce()) as address:
        async with AsyncClient(address) as client:
            opened = await open_loop(client, dicom, at_s=[0.05 * index for index in range(40)])
    with serving(StallsOnce()) as address:
        async with AsyncClient(address) as client:
            closed = await closed_loop(client, dicom, callers=1, seconds=STALL_S + 1)
    # 20 a second were due while the server stalled, 12 of them in the first 0.6 s of it; one caller sent one.
    assert len(opened.latencies_ms) == 40
    assert long_ones(opened) >= 8
    assert 1 <= long_ones(closed) <= long_ones(opened) // 2
    row = opened.result(SUBJECT)
    assert isinstance(row, Row)
    assert row.p99_ms > LONG_MS > np.median(closed.latencies_ms)


async def test_a_latency_counts_from_when_the_slice_was_to_be_sent(serving: Serving, engine, dicom: bytes):
    with serving(engine) as address:
        async with AsyncClient(address) as real:
            answer = await real.segment(dicom)

    class Late:
        async def segment(self, dicom: bytes):  # noqa: ARG002
            time.sleep(0.3)  # holds up the event loop, and so the next call
            return answer

    load = await open_loop(Late(), dicom, at_s=[0.0, 0.05])
    first, second = load.latencies_ms
    assert first >= 300
    assert second >= 300 + 250  # of its own, and of the time that it could not be sent


async def test_callers_wait_for_their_own_answer_alone(serving: Serving, engine, dicom: bytes):
    under_way: list[int] = []
    with serving(engine) as address:
        async with AsyncClient(address) as client:

            class Counting:
                now = 0

                async def segment(self, dicom: bytes):
                    self.now += 1
                    under_way.append(self.now)
                    try:
                        return await client.segment(dicom)
                    finally:
                        self.now -= 1

            load = await closed_loop(Counting(), dicom, callers=3, seconds=0.5)
    assert max(under_way) == 3
    assert len(load.latencies_ms) == len(under_way) >= 3
    row = load.result(SUBJECT)
    assert isinstance(row, Row)
    assert row.calls_per_s == pytest.approx(len(under_way) / load.seconds)
    assert row.stages.inference_ms > 0


async def test_errors_are_counted_by_code_and_are_no_latencies(serving: Serving, engine, dicom: bytes):
    with serving(engine) as address:
        async with AsyncClient(address) as client:

            class Sometimes:
                calls = 0

                async def segment(self, dicom: bytes):
                    self.calls += 1
                    return await client.segment(dicom if self.calls % 2 else b"no DICOM")

            load = await open_loop(Sometimes(), dicom, at_s=[0.0, 0.01, 0.02, 0.03])
    row = load.result(SUBJECT)
    assert isinstance(row, Row)
    assert (len(row.latencies_ms), row.errors) == (2, {"INVALID_ARGUMENT": 2})


async def test_a_server_that_is_gone_is_a_failure_with_its_reason(dicom: bytes):
    class Gone:
        async def segment(self, dicom: bytes):  # noqa: ARG002
            await asyncio.sleep(0)
            raise ServerError("no server answers", code="UNAVAILABLE")

    load = await open_loop(Gone(), dicom, at_s=[0.0, 0.01])
    assert load.result(SUBJECT) == Failure(
        engine="threshold-cpu via gRPC, open 20/s",
        precision="fp32",
        reason="none of 2 calls was answered (UNAVAILABLE 2): no server answers",
    )


def test_arrivals_are_random_at_the_rate_and_the_same_each_time():
    times_s = poisson_times_s(100, 50)
    assert times_s == poisson_times_s(100, 50)
    assert times_s == sorted(times_s)
    assert 0 < times_s[0] < times_s[-1] < 50
    assert len(times_s) == 5000
    # Intervals vary as much as they last.
    assert np.std(np.diff(times_s)) == pytest.approx(0.01, rel=0.1)
