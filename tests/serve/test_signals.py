"""What lvseg-serve, as its own process, does when it is told to stop and when its engine goes wrong."""

import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lvseg.errors import ServerError
from lvseg_serve.client import Client

Serving = Callable[..., AbstractContextManager[Any]]

HOLD = """
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
run = OnnxRuntimeEngine.run
def held(self, pixels):
    if pixels.shape[-1] == 72:  # the test's slice, and nothing of the gate
        open({pipe!r}).read()
    return run(self, pixels)
OnnxRuntimeEngine.run = held
"""
"""Lets the engine wait in the test's slice: until a writer has opened the pipe, and closed it again."""

BLIND = """
import os
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
run = OnnxRuntimeEngine.run
OnnxRuntimeEngine.run = lambda self, pixels: run(self, pixels * (not os.path.exists({file!r})))
"""
"""Lets the engine see nothing once there is a file."""


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a service manager, as systemd names it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "manager"))
        manager.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "manager"))
        yield manager


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def _refused(address: str) -> bool:
    try:
        with Client(address, retry=False) as client:
            client.server_info()
    except ServerError as error:
        return error.code == "UNAVAILABLE"
    return False


def test_what_was_accepted_is_answered_after_sigterm_and_nothing_else_is(
    serving_process: Serving, pipe: Path, threads: ThreadPoolExecutor, manager: socket.socket, dicom: bytes
) -> None:
    with serving_process("--listen", "127.0.0.1:0", preamble=HOLD.format(pipe=str(pipe))) as running:
        with (
            Client(running.address, retry=False) as client,
            grpc.insecure_channel(running.address) as channel,
        ):
            answer = threads.submit(client.segment, dicom)
            with pipe.open("w"):  # the engine has the slice, until the block ends
                health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
                assert next(health).status == health_pb2.HealthCheckResponse.SERVING
                assert manager.recv(100) == b"READY=1"
                running.process.send_signal(signal.SIGTERM)
                assert manager.recv(100) == b"STOPPING=1"
                assert next(health).status == health_pb2.HealthCheckResponse.NOT_SERVING
                health.cancel()
                while not _refused(running.address):
                    pass
                assert not answer.done()
            assert answer.result(timeout=60).area_mm2 == 900.0
        assert running.process.wait(timeout=60) == 0


def test_a_second_signal_ends_it_though_a_slice_is_under_way(
    serving_process: Serving, pipe: Path, threads: ThreadPoolExecutor, dicom: bytes
) -> None:
    options = ("--listen", "127.0.0.1:0", "--grace-s", "3600")
    with (
        serving_process(*options, preamble=HOLD.format(pipe=str(pipe))) as running,
        Client(running.address, retry=False) as client,
    ):
        answer = threads.submit(client.segment, dicom)
        with pipe.open("w"):
            running.process.send_signal(signal.SIGTERM)
            running.process.send_signal(signal.SIGINT)
            assert running.process.wait(timeout=60) == 0
        with pytest.raises(ServerError):
            answer.result(timeout=60)


def test_an_engine_that_sees_nothing_any_more_ends_it_with_exit_code_3(
    serving_process: Serving, tmp_path: Path
) -> None:
    file = tmp_path / "blind"
    options = ("--listen", "127.0.0.1:0", "--canary-every-s", "0.01", "--canary-failures", "2")
    with serving_process(*options, preamble=BLIND.format(file=str(file))) as running:
        file.touch()
        _, errors = running.process.communicate(timeout=60)
    assert running.process.returncode == 3
    said = "health status=NOT_SERVING why=onnxruntime-cpu (fp32) differs from the trained model"
    assert errors.count(said) == 1
    assert "engine_lost error=2 canaries in a row failed" in errors


def test_sighup_loads_another_model_though_the_former_hangs(
    serving_process: Serving,
    pipe: Path,
    threads: ThreadPoolExecutor,
    threshold_bundle: Path,
    make_threshold_bundle: Callable[..., Path],
    make_dicom: Callable[..., bytes],
    dicom: bytes,
) -> None:
    options = ("--listen", "127.0.0.1:0")
    with (
        serving_process(*options, preamble=HOLD.format(pipe=str(pipe))) as running,
        Client(running.address) as client,
    ):
        answer = threads.submit(client.segment, dicom)
        with pipe.open("w"):  # the engine has the slice, until the block ends
            for version in "bc":
                shutil.rmtree(threshold_bundle)
                make_threshold_bundle(threshold_bundle, version=version)
                running.process.send_signal(signal.SIGHUP)
                while client.server_info().model.version != version:
                    time.sleep(0.01)
                other = client.segment(make_dicom(np.full((64, 64), 100)))
                assert other.model.version == version
            assert not answer.done()
        assert answer.result(timeout=60).model.version == "0123456789ab"


FREED = """
import sys, weakref
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
init = OnnxRuntimeEngine.__init__
def counted(self, *arguments, **options):
    init(self, *arguments, **options)
    weakref.finalize(self, print, "an engine is freed", file=sys.stderr, flush=True)
OnnxRuntimeEngine.__init__ = counted
"""


def test_sighup_serves_what_the_folder_holds_by_now_and_frees_what_is_two_swaps_old(
    serving_process: Serving, threshold_bundle: Path, make_threshold_bundle: Callable[..., Path], dicom: bytes
) -> None:
    def put(version: str, **faults: float) -> None:
        shutil.rmtree(threshold_bundle)
        make_threshold_bundle(threshold_bundle, version=version, **faults)
        running.process.send_signal(signal.SIGHUP)

    def event(name: str) -> dict[str, Any]:
        """Return the next one of a name; a line of another kind is what was printed when an engine was freed."""
        for line in running.process.stderr:
            if not line.startswith("{"):
                freed.append(line)
            elif (found := json.loads(line))["event"] == name:
                return found
        raise AssertionError(f"no {name}")

    freed: list[str] = []
    options = ("--listen", "127.0.0.1:0", "--log-format", "json")
    with serving_process(*options, preamble=FREED) as running, Client(running.address) as client:
        put("b", limit=2000)
        swapped = event("swapped")
        assert (swapped["version"], swapped["former_version"]) == ("b", "0123456789ab")
        answer = client.segment(dicom)
        assert (answer.model.version, answer.area_mm2, client.server_info().model.version) == ("b", 0.0, "b")
        put("wrong", trained_limit=2000)
        assert event("swap_failed")["error"].startswith("onnxruntime-cpu (fp32) differs from the trained")
        put("c")
        event("swapped")
        answer = client.segment(dicom)
        assert (answer.model.version, answer.area_mm2) == ("c", 900.0)
        running.process.send_signal(signal.SIGTERM)
        assert event("stopped")
        assert len(freed) == 2  # that of the wrong model, and the first
