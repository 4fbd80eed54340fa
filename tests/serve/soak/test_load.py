"""Many callers at once, most of them badly behaved. `make soak`; LVSEG_SOAK_S says for how long."""

import asyncio
import logging
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lvseg.errors import InputError, ServerError
from lvseg_serve.client import AsyncClient
from lvseg_serve.client.admin import AdminClient
from tests.serve.soak.conftest import SECONDS, Numbered, family, memory_mib
from tests.serve.soak.http2 import begin_call, connect, ends_with_trailers, send_part

SEGMENT = "/lvseg_api.v1.SegmentationService/Segment"
QUIET = ("--log-level", "warning")
"""A line for each call would fill the pipe that nobody reads meanwhile."""
ServingProcess = Callable[..., AbstractContextManager[Any]]
_logger = logging.getLogger(__name__)


class Server(NamedTuple):
    address: str
    client: AsyncClient
    numbered: Numbered


async def good(server: Server, draw: random.Random) -> str:
    number = draw.randrange(len(server.numbered.dicoms))
    answer = await server.client.segment(server.numbered.dicoms[number])
    assert answer.area_mm2 == server.numbered.area_mm2(number)
    return "answered"


async def bad(server: Server, draw: random.Random) -> str:
    whole = server.numbered.dicoms[0]
    try:
        await server.client.segment(whole[: draw.randrange(len(whole) - 1)])
    except InputError:
        return "refused"
    raise AssertionError("a file that is cut off was taken")


async def hasty(server: Server, draw: random.Random) -> str:
    async with AsyncClient(server.address, timeout_s=draw.uniform(0.001, 0.05), retry=False) as impatient:
        try:
            await impatient.segment(server.numbered.dicoms[0])
        except ServerError as error:
            if error.code in {"DEADLINE_EXCEEDED", "UNAVAILABLE"}:
                return "too late"
            raise
    return "in time"


async def leaving(server: Server, draw: random.Random) -> str:
    task = asyncio.create_task(server.client.segment(server.numbered.dicoms[0]))
    await asyncio.sleep(draw.uniform(0, 0.05))
    task.cancel()
    outcome = (await asyncio.gather(task, return_exceptions=True))[0]
    assert isinstance(outcome, asyncio.CancelledError) or outcome.area_mm2 == server.numbered.area_mm2(0)
    return "left"


async def hanging_up(server: Server, draw: random.Random) -> str:
    def half() -> None:
        with connect(server.address) as connection:
            begin_call(connection, SEGMENT)
            send_part(connection, server.numbered.dicoms[0][: draw.randrange(4000)], 2**20)

    await asyncio.to_thread(half)
    return "hung up"


BEHAVIOURS = {good: 60, bad: 10, hasty: 10, leaving: 15, hanging_up: 5}


async def test_sixty_four_callers_each_get_their_own_answer(
    serving_process: ServingProcess, numbered: Numbered
) -> None:
    outcomes: Counter[str] = Counter()
    waits_s: list[float] = []

    async def caller(server: Server, seed: int, end: float) -> None:
        draw = random.Random(seed)
        while time.monotonic() < end:
            behave = draw.choices(list(BEHAVIOURS), list(BEHAVIOURS.values()))[0]
            started = time.monotonic()
            outcomes[await behave(server, draw)] += 1
            if behave is good:
                waits_s.append(time.monotonic() - started)

    with serving_process("--listen", "127.0.0.1:0", *QUIET) as running:
        clients = [AsyncClient(running.address, timeout_s=60) for _ in range(8)]
        servers = [Server(running.address, client, numbered) for client in clients]
        end = time.monotonic() + SECONDS
        await asyncio.gather(*(caller(servers[seed % 8], seed, end) for seed in range(64)))
        # No place was lost: as many as the server takes at a time are answered at once, without coming again.
        patient = AsyncClient(running.address, timeout_s=60, retry=False)
        await asyncio.gather(*(patient.segment(numbered.dicoms[0]) for _ in range(64)))
        for client in (*clients, patient):
            await client.close()
        running.process.send_signal(signal.SIGTERM)
        _, errors = running.process.communicate(timeout=60)
    assert running.process.returncode == 0
    assert "internal_error" not in errors
    waits_ms = np.percentile(waits_s, (50, 99, 100)) * 1e3
    _logger.info("%s; p50 %.0f ms, p99 %.0f ms, longest %.0f ms", dict(outcomes), *waits_ms)
    assert {"answered", "refused", "too late", "left", "hung up"} <= set(outcomes)


async def test_memory_stays_level_over_ten_thousand_slices(
    serving_process: ServingProcess, numbered: Numbered
) -> None:
    samples: list[tuple[int, float]] = []
    with serving_process("--listen", "127.0.0.1:0", *QUIET) as running:
        async with AsyncClient(running.address, timeout_s=60) as client:
            server = Server(running.address, client, numbered)
            for thousandth in range(12):
                draw = random.Random(thousandth)
                for _ in range(0, 1000, 16):
                    await asyncio.gather(*(good(server, draw) for _ in range(16)))
                samples.append(((thousandth + 1) * 1000, memory_mib(running.process.pid)))
    counts, mib = zip(*samples[2:], strict=True)
    slope_bytes = float(np.polyfit(counts, mib, 1)[0]) * 2**20
    _logger.info("memory %.1f to %.1f MiB, %.0f bytes a slice", min(mib), max(mib), slope_bytes)
    assert abs(slope_bytes) < 512


async def test_workers_that_are_killed_cost_their_own_slices_alone(
    serving_process: ServingProcess, numbered: Numbered
) -> None:
    with serving_process("--listen", "127.0.0.1:0", "--workers", "2", *QUIET) as running:
        once = AsyncClient(running.address, timeout_s=60, retry=False)
        again = AsyncClient(running.address, timeout_s=60)
        killed, outcomes = await _kill_workers(running.process.pid, Server(running.address, once, numbered))
        _logger.info("%d workers killed, callers who try once: %s", killed, dict(outcomes))
        assert 0 < outcomes["lost"] <= killed
        killed, outcomes = await _kill_workers(running.process.pid, Server(running.address, again, numbered))
        _logger.info("%d workers killed, callers who come again: %s", killed, dict(outcomes))
        assert outcomes["lost"] == 0
        await once.close()
        await again.close()


async def _kill_workers(pid: int, server: Server) -> tuple[int, Counter[str]]:
    """Kill a worker every now and then while eight callers want slices; return how many, and what became of those."""
    outcomes: Counter[str] = Counter()
    end = time.monotonic() + SECONDS / 2

    async def caller(seed: int) -> None:
        draw = random.Random(seed)
        while time.monotonic() < end:
            try:
                outcomes[await good(server, draw)] += 1
            except ServerError as error:
                if (error.code, error.reason) != ("UNAVAILABLE", "WORKER_LOST"):
                    raise
                outcomes["lost"] += 1

    callers = [asyncio.create_task(caller(seed)) for seed in range(8)]
    killed = 0
    while time.monotonic() < end - 1:
        await asyncio.sleep(0.2)
        killed += _kill_a_worker(pid)
    await asyncio.gather(*callers)
    return killed, outcomes


def _kill_a_worker(pid: int) -> int:
    """Kill the youngest process of a server, which is a worker; return how many were killed."""
    _, *below = family(pid)
    if len(below) < 3:  # the workers' parent and the tracker of their resources stay
        return 0
    try:
        os.kill(max(below), signal.SIGKILL)
    except ProcessLookupError:
        return 0
    return 1


async def test_a_hundred_swaps_fail_no_slice_and_leave_memory_level(
    serving_process: ServingProcess, numbered: Numbered, threshold_bundle: Path
) -> None:
    swaps, outcomes, samples = 100, Counter[str](), []
    options = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--bundles", str(threshold_bundle.parent))
    with serving_process(*options, *QUIET) as running:
        admin_address = running.ready.partition("admin on ")[2].partition(";")[0]
        async with AsyncClient(running.address, timeout_s=60, retry=False) as client:
            server = Server(running.address, client, numbered)
            swapping = True

            async def caller(seed: int) -> None:
                draw = random.Random(seed)
                while swapping:
                    outcomes[await good(server, draw)] += 1

            callers = [asyncio.create_task(caller(seed)) for seed in range(8)]
            with AdminClient(admin_address) as admin:
                for swap in range(swaps):
                    await asyncio.to_thread(admin.swap, threshold_bundle.name)
                    if swap % 10 == 9:
                        samples.append((swap + 1, memory_mib(running.process.pid)))
            swapping = False
            await asyncio.gather(*callers)
    counts, mib = zip(*samples[2:], strict=True)
    slope_bytes = float(np.polyfit(counts, mib, 1)[0]) * 2**20
    _logger.info(
        "%d swaps, %d slices; memory %.1f to %.1f MiB, %.0f bytes a swap",
        swaps,
        outcomes["answered"],
        min(mib),
        max(mib),
        slope_bytes,
    )
    assert outcomes["answered"] > swaps
    assert abs(slope_bytes) < 64 * 1024


async def test_callers_who_do_not_read_cost_bounded_memory(
    serving_process: ServingProcess, numbered: Numbered
) -> None:
    with serving_process("--listen", "127.0.0.1:0", *QUIET) as running:
        async with AsyncClient(running.address) as client:
            await client.segment(numbered.dicoms[0])
            before = memory_mib(running.process.pid)
            idle = [connect(running.address) for _ in range(200)]
            for connection in idle[:100]:  # half of them begin a message of 30 MiB, and stop
                begin_call(connection, SEGMENT)
                send_part(connection, b"\0" * 4000, 30 * 2**20)
            answers = await asyncio.gather(*(client.segment(numbered.dicoms[0]) for _ in range(32)))
            after = memory_mib(running.process.pid)
            for connection in idle:
                connection.close()
    assert all(answer.area_mm2 == numbered.area_mm2(0) for answer in answers)
    _logger.info("200 connections that do nothing: %.1f MiB more", after - before)
    assert after - before < 64


def test_a_call_by_hand_is_understood(serving_process: ServingProcess) -> None:
    """The bad callers above are bad in what they mean to be bad in: the same bytes, whole, are a call."""
    with (
        serving_process("--listen", "127.0.0.1:0", *QUIET) as running,
        connect(running.address) as connection,
    ):
        begin_call(connection, SEGMENT)
        send_part(connection, b"", 0, last=True)
        assert ends_with_trailers(connection)
