import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched through Linux's /proc")


def test_lvseg_serve_and_the_plain_server_give_the_same_answers_under_load(phantom, tmp_path):
    command = [
        sys.executable,
        str(BENCHMARKS / "serving.py"),
        "--model",
        "tiny",
        "--slices",
        "2",
        "--rounds",
        "1",
    ]
    quick = [
        "--clients",
        "2",
        "--alone-s",
        "0.1",
        "--together-s",
        "0.1",
        "--json",
        str(tmp_path / "found.json"),
    ]

    done = subprocess.run([*command, *quick], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "found.json").read_text())["a model of next to no time"]
    assert [row["server"] for row in rows] == ["plain grpcio", "lvseg-serve"]
    assert all("failure" not in row for row in rows)
    assert all(row["calls"] > 0 and row["together_calls"] > 0 for row in rows)


def test_a_server_ends_with_workers_that_began_sessions_of_their_own(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from serving_bench.processes import ServerProcess

    os.mkfifo(tmp_path / "ready")
    worker = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
    server = (
        "import subprocess, sys; "
        f"subprocess.Popen([sys.executable, '-c', {worker!r}, sys.argv[1]], start_new_session=True).wait()"
    )
    process = ServerProcess(
        [sys.executable, "-c", server, str(tmp_path / "ready")], os.environ, tmp_path / "log"
    )
    worker_id = int((tmp_path / "ready").read_text())  # waits until the worker has written it

    process.stop()

    assert not process.running
    status = Path("/proc", str(worker_id), "stat")
    assert not status.exists() or status.read_text().rpartition(") ")[2].startswith("Z")


def test_the_model_of_next_to_no_time_draws_the_disc_that_it_promises(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from peers.slice_work import SliceWork
    from serving_bench.tiny_bundle import RADIUS_PX, write_tiny_bundle

    from lvseg_serve.bench.slice import phantom_dicom

    bundle = write_tiny_bundle(tmp_path, working_spacing_mm=1.0)
    answer = SliceWork(str(bundle.path("model.onnx")), 1.0)(phantom_dicom(128))

    # The disc of the working grid, whose pixels are 1 mm: its area in mm² is that of its circle, to a pixel's edge
    assert answer.area_mm2 == pytest.approx(3.14159 * RADIUS_PX**2, rel=0.02)
    assert answer.contour.shape[1] == 2
