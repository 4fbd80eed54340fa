"""What hostile files and messages do to a server, and to another caller who sends good slices all along.

python benchmarks/hostile_input.py [--requests N]

Starts lvseg-serve with the model that comes with lvseg on a free port of this machine, sends each request of
``fuzz/hostile.py`` to it and prints a table: what was sent, the reason of the refusal, milliseconds until it came, and
the resident memory of the server with its worker processes: before, at its peak on the way (looked at every 5 ms)
and after.
"""

import re
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import click
import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from fuzz.hostile import Hostile, hostile_requests, make_slice
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.processes import descendants, resident_bytes

METHOD = "/lvseg_api.v1.SegmentationService/Segment"
LOOK_EVERY_S = 0.005
SETTLE_S = 0.2
"""After an answer, for memory to be given back before the next request."""
TIMEOUT_S = 60.0
WARM_UP = 8
MIB = 2**20
SERVE = "from lvseg_serve.commands import serve; serve()"


class Outcome(NamedTuple):
    """What became of one request."""

    reason: str
    ms: float


@click.command()
@click.option("--requests", type=click.IntRange(1), help="Only so many of the requests.")
def main(requests: int | None) -> None:
    """Print the table, then what the other caller saw."""
    good = pb.SegmentRequest(dicom=make_slice(256, 256, bytes(range(256)) * 512)).SerializeToString()
    film = make_slice(256, 256, bytes(31 * MIB), NumberOfFrames=248)
    cine = pb.SegmentRequest(dicom=film, frame=1).SerializeToString()
    sent = [Hostile("(a good cine of 31 MiB, to compare with)", cine, ""), *hostile_requests()][:requests]
    with _server() as (process, address), _channel(address) as segment, Other(address, good) as other:
        for _ in range(WARM_UP):  # so that libraries are loaded, and buffers are as large as they get
            _send(segment, good)
            _send(segment, cine)
        alone = other.mark()
        time.sleep(5)
        quiet = other.since(alone)
        start = _resident_mib(process.pid)
        started = other.mark()
        print("| request | size | refused as | ms | server, MiB: before | peak | after |")  # noqa: T201
        print("|---|---|---|---|---|---|---|")  # noqa: T201
        for hostile in sent:
            before = _resident_mib(process.pid)
            with Peak(process.pid) as peak:
                outcome = _send(segment, hostile.request)
            time.sleep(SETTLE_S)
            mark = "" if outcome.reason == hostile.reason else f" (expected {hostile.reason})"
            print(  # noqa: T201
                f"| {hostile.name} | {_size(len(hostile.request))} | {outcome.reason}{mark} | {outcome.ms:.0f} | "
                f"{before:.0f} | {peak.mib:.0f} | {_resident_mib(process.pid):.0f} |",
                flush=True,
            )
        beside = other.since(started)
        end = _resident_mib(process.pid)
    print(f"\nServer: {start:.0f} MiB before, {end:.0f} MiB after.")  # noqa: T201
    print(f"Another caller, nothing hostile: {quiet}")  # noqa: T201
    print(f"Another caller, meanwhile: {beside}")  # noqa: T201


class Other:
    """A caller who sends one good slice after another from a thread of its own."""

    def __init__(self, address: str, request: bytes) -> None:
        self._address, self._request = address, request
        self._outcomes: list[Outcome] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def mark(self) -> int:
        """Return how many slices were answered so far."""
        return len(self._outcomes)

    def since(self, mark: int) -> str:
        """Say what became of the slices since a mark."""
        outcomes = self._outcomes[mark:]
        times = [outcome.ms for outcome in outcomes]
        *_, p95 = statistics.quantiles(times, n=20)
        failed = sum(outcome.reason != "" for outcome in outcomes)
        return (
            f"{len(outcomes)} slices, {failed} failed; median {statistics.median(times):.0f} ms, "
            f"95th percentile {p95:.0f} ms, longest {max(times):.0f} ms"
        )

    def _run(self) -> None:
        with _channel(self._address) as segment:
            while not self._stop.is_set():
                self._outcomes.append(_send(segment, self._request))

    def __enter__(self) -> "Other":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


class Peak:
    """Looks at a process tree's resident memory until the block ends."""

    mib = 0.0

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while True:
            self.mib = max(self.mib, _resident_mib(self._pid))
            if self._stop.wait(LOOK_EVERY_S):
                return

    def __enter__(self) -> "Peak":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


@contextmanager
def _server() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", SERVE, "--listen", "127.0.0.1:0", "--engine", "onnxruntime"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - lvseg's own
        try:
            line = process.stdout.readline() if process.stdout else ""
            match = re.search(r"127\.0\.0\.1:[1-9][0-9]*", line)
            if match is None:
                raise SystemExit(f"lvseg-serve did not start: {line}")
            yield process, match[0]
        finally:
            process.terminate()


@contextmanager
def _channel(address: str) -> Iterator[grpc.UnaryUnaryMultiCallable]:
    with grpc.insecure_channel(address) as channel:
        yield channel.unary_unary(METHOD, response_deserializer=pb.SegmentResponse.FromString)


def _send(segment: grpc.UnaryUnaryMultiCallable, request: bytes) -> Outcome:
    started = time.perf_counter()
    call = segment.future(request, timeout=TIMEOUT_S)
    error = call.exception()
    ms = (time.perf_counter() - started) * 1e3
    if error is None:
        return Outcome("", ms)
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    if status is not None and status.details:
        status.details[0].Unpack(info)
    code: str = call.code().name
    return Outcome(info.reason if code == "INVALID_ARGUMENT" else f"{code} {info.reason}", ms)


def _resident_mib(pid: int) -> float:
    """Return the resident memory of a process and all below it; memory that they share counts once for each."""
    return sum(map(resident_bytes, (pid, *descendants(pid)))) / MIB


def _size(length: int) -> str:
    return f"{length / 1e6:.1f} MB" if length >= 1e6 else f"{length / 1e3:.1f} kB"


if __name__ == "__main__":
    main()
