"""Slices over a stream, and what becomes of them when it breaks."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lvseg.errors import InputError, ServerError
from lvseg_serve.client import Client
from lvseg_serve.client.jobs import Job, stream_jobs
from lvseg_serve.rpc import status as status_module


def test_outcomes_come_in_the_order_of_the_jobs(
    server: str, make_dicom: Callable[..., bytes], tmp_path: Path
) -> None:
    jobs = []
    for number in range(30):
        path = tmp_path / f"{number}.dcm"
        pixels = np.full((64, 72), 100)
        pixels[:number] = 1000
        path.write_bytes(b"no DICOM" if number % 7 == 3 else make_dicom(pixels))
        jobs.append(Job(path=path, name=str(number)))
    (tmp_path / "29.dcm").unlink()
    with Client(server) as client:
        outcomes = list(stream_jobs(client, jobs, tmp_path / "out"))
    assert [outcome.row.file for outcome in outcomes] == [f"{number}.dcm" for number in range(30)]
    failed = [number for number, outcome in enumerate(outcomes) if isinstance(outcome.error, InputError)]
    assert failed == [3, 10, 17, 24, 29]
    assert [outcome.row.area_mm2 for outcome in outcomes[:3]] == [0, 72 * 2.25, 2 * 72 * 2.25]


def test_a_slice_has_its_own_time_and_not_that_of_those_before_it(
    serving: Callable[..., AbstractContextManager[str]], gated_engine: Any, dicom: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(dicom)
    jobs = [Job(path=path, name=str(number)) for number in range(4)]

    def hold_the_first() -> None:
        assert gated_engine.entered.wait(timeout=60)
        time.sleep(1)
        gated_engine.gate.set()

    with serving(gated_engine) as address, Client(address) as client:
        threading.Thread(target=hold_the_first).start()
        outcomes = list(stream_jobs(client, jobs, tmp_path / "out"))
    *others, first = sorted(outcome.row.ms for outcome in outcomes)
    assert first >= 1000
    assert 0 < min(others) <= max(others) < 1000


def test_what_a_server_that_stops_has_not_answered_goes_to_the_next(
    serving: Callable[..., AbstractContextManager[str]],
    engine: Any,
    gated_engine: Any,
    dicom: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status_module, "_NEW_PROCESS_S", 0.01)
    path = tmp_path / "slice.dcm"
    path.write_bytes(dicom)
    jobs = [Job(path=path, name=str(number)) for number in range(40)]

    def stop_the_first() -> None:
        assert gated_engine.entered.wait(timeout=60)
        threading.Timer(0.5, gated_engine.gate.set).start()
        first.close()

    with ExitStack() as first, serving(engine) as other:
        address = first.enter_context(serving(gated_engine))
        stopping = threading.Thread(target=stop_the_first)
        stopping.start()
        with Client(f"ipv4:{address},{other}") as client:
            outcomes = list(stream_jobs(client, jobs, tmp_path / "out"))
        stopping.join()
    assert [outcome.row.area_mm2 for outcome in outcomes] == [900.0] * 40
    here, there = (sum(shape[0] for shape in found.shapes) for found in (gated_engine, engine))
    assert 1 <= here <= 4  # what a stream may have under way
    assert here + there == 40  # none was lost, none done twice


def test_a_server_that_is_started_anew_in_the_midst_is_survived(
    serving_process: Callable[..., AbstractContextManager], dicom: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(dicom)
    jobs = [Job(path=path, name=str(number)) for number in range(60)]
    with ExitStack() as servers:
        running = servers.enter_context(serving_process("--listen", "127.0.0.1:0"))
        with Client(running.address, timeout_s=60, connect_s=0) as client:
            outcomes = stream_jobs(client, jobs, tmp_path / "out")
            first = next(outcomes)
            running.process.kill()
            running.process.wait()
            servers.enter_context(serving_process("--listen", running.address))
            rest = list(outcomes)
    assert [outcome.error for outcome in (first, *rest)] == [None] * 60


def test_when_the_server_dies_every_slice_that_it_has_not_answered_fails(
    serving_process: Callable[..., AbstractContextManager], dicom: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(dicom)
    jobs = [Job(path=path, name=str(number)) for number in range(60)]
    with serving_process() as running, Client(running.address, timeout_s=2) as client:
        outcomes = stream_jobs(client, jobs, tmp_path / "out")
        first = next(outcomes)
        running.process.kill()
        rest = list(outcomes)
    assert first.error is None
    assert len(rest) == 59
    errors = [outcome.error for outcome in rest if outcome.error is not None]
    assert all(isinstance(error, ServerError) and error.code == "UNAVAILABLE" for error in errors)
    assert "not sent" in str(errors[-1])
