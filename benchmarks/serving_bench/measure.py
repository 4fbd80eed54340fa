"""Servers that all run, under load in turn, and the bare engine in turn with them."""

import asyncio
import os
import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from peers.slice_work import SliceWork
from serving_bench.load import LoadError, Loop, closed_loop
from serving_bench.processes import ServerProcess
from serving_bench.servers import FOLDER, Model, Said, Server

from lvseg_serve.png import decode_mask

_READY_S = 120
_IDLE_S = 3
_TOLERATED_PIXELS = 10
"""Of a mask: what other versions of numpy may round to the other side."""


@dataclass
class Running:
    """A server that runs, and what was measured of it so far."""

    server: Server
    process: ServerProcess
    port: int
    requests: list[bytes]
    alone: list[Loop] = field(default_factory=list)
    together: list[Loop] = field(default_factory=list)
    alone_cpu_s: float = 0.0
    together_cpu_s: float = 0.0
    idle_cpu_percent: float = 0.0
    failure: str = ""

    async def loop(self, clients: int, seconds: float) -> None:
        """Put the server under load once."""
        before = self.process.cpu_s()
        loop = await closed_loop(self.server.client(self.port), clients, self.requests, seconds)
        needed = self.process.cpu_s() - before
        if clients == 1:
            self.alone.append(loop)
            self.alone_cpu_s += needed
        else:
            self.together.append(loop)
            self.together_cpu_s += needed


def free_port() -> int:
    """Return a port of the loopback interface that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def start(
    server: Server, python: Path, model: Model, dicoms: Sequence[bytes], *, workers: int, log: Path
) -> Running:
    """Start a server and wait until it answers.

    Raises:
        LoadError: If it does not answer within two minutes, or ends, or answers otherwise than the plain work does.
    """
    port = free_port()
    sources = (FOLDER, *(FOLDER.parent / room for room in ("", "export", "serve", "protos")))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "PYTHON"))},
        "PYTHONPATH": os.pathsep.join(map(str, sources)),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MODEL": str(model.file),
        "WORKING_SPACING_MM": str(model.working_spacing_mm),
        "PORT": str(port),
        "WORKERS": str(workers),
        "TMPDIR": str(log.parent),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    process = ServerProcess(server.command(python, model, port), environment, log)
    try:
        requests = [server.request(dicom) for dicom in dicoms]
        answer = await _first_answer(server, process, port, requests[0])
        _check(server.understand(answer), SliceWork(str(model.file), model.working_spacing_mm), dicoms[0])
    except BaseException:
        process.stop()
        raise
    return Running(server, process, port, requests)


async def _first_answer(server: Server, process: ServerProcess, port: int, request: bytes) -> bytes:
    given_up = time.monotonic() + _READY_S
    while True:
        try:
            async with server.client(port)() as call:
                return await call(request)
        except LoadError as error:
            if not process.running or time.monotonic() > given_up:
                raise LoadError(f"does not start: {process.last_words() or error}") from error
            await asyncio.sleep(0.3)


def _check(said: Said, work: SliceWork, dicom: bytes) -> None:
    expected = work(dicom)
    mask = decode_mask(expected.mask_png)
    if said.mask.shape != mask.shape or np.count_nonzero(said.mask != mask) > _TOLERATED_PIXELS:
        raise LoadError("answers with another mask than the plain work")
    if said.area_mm2 <= 0 or len(said.contour) < 3:
        raise LoadError("answers without area or contour")


class BareEngine:
    """The engine alone, called in this process on slices that are on the working grid already."""

    def __init__(self, model: Model, dicoms: Sequence[bytes]) -> None:
        self._work = SliceWork(str(model.file), model.working_spacing_mm)
        self._slices = [self._work.prepare(dicom).pixels for dicom in dicoms]
        self._work.run(self._slices[0])
        self.alone: list[Loop] = []
        self.together: list[Loop] = []

    def round(self, threads: int, alone_s: float, together_s: float) -> None:
        """Run it from one thread for some seconds, then from several."""
        self.alone.append(self._loop(1, alone_s))
        self.together.append(self._loop(threads, together_s))

    def _loop(self, threads: int, seconds: float) -> Loop:
        started, cpu_s = time.perf_counter(), time.process_time()

        def run(first: int) -> list[float]:
            latencies_ms = []
            for pixels in islice(cycle(self._slices), first, None):
                now = time.perf_counter()
                if now >= started + seconds:
                    break
                self._work.run(pixels)
                latencies_ms.append((time.perf_counter() - now) * 1e3)
            return latencies_ms

        with ThreadPoolExecutor(threads) as pool:
            latencies_ms = [each for found in pool.map(run, range(threads)) for each in found]
        return Loop(latencies_ms, time.perf_counter() - started, time.process_time() - cpu_s)


async def measure_in_turn(
    running: Sequence[Running],
    engine: BareEngine | None,
    *,
    clients: int,
    rounds: int,
    alone_s: float,
    together_s: float,
    workers: int,
) -> None:
    """Put each server under load in each round, and the bare engine; who comes first changes from round to round.

    A server that fails is left out from there on, with its reason in ``failure``.
    """
    await _measure_idle(running)
    for number in range(rounds):
        for index in range(len(running)):
            one = running[(index + number) % len(running)]
            if one.failure:
                continue
            try:
                await one.loop(1, alone_s)
                await one.loop(clients, together_s)
            except LoadError as error:
                one.failure = f"{error} ({one.process.last_words()})"
        if engine is not None:
            engine.round(workers, alone_s, together_s)


async def _measure_idle(running: Sequence[Running]) -> None:
    before = [one.process.cpu_s() for one in running]
    await asyncio.sleep(_IDLE_S)
    for one, cpu_s in zip(running, before, strict=True):
        one.idle_cpu_percent = (one.process.cpu_s() - cpu_s) / _IDLE_S * 100
