"""The metrics as Prometheus would read them."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.request import urlopen

import pytest

from lvseg.errors import OptionError, ServerError
from lvseg_serve.answers import ServerInfo, StageTimings
from lvseg_serve.metrics import Metrics, serving_metrics
from lvseg_serve.observation_options import to_observation
from lvseg_serve.observer import Call, Peer

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
SEGMENT = "lvseg_api.v1.SegmentationService/Segment"


@pytest.fixture
def metrics(info: ServerInfo) -> Metrics:
    return Metrics(info)


@pytest.fixture
def read(metrics: Metrics) -> Callable[[], dict[str, float]]:
    """Read every series over HTTP: name with labels to value."""

    def read() -> dict[str, float]:
        series = (line.rsplit(" ", 1) for line in page(metrics).splitlines() if not line.startswith("#"))
        return {name: float(value) for name, value in series}

    return read


def page(metrics: Metrics) -> str:
    with (
        serving_metrics(metrics, "127.0.0.1:0") as address,
        urlopen(f"http://{address}/metrics", timeout=60) as answer,
    ):
        return answer.read().decode()


def do_everything(metrics: Metrics) -> None:
    """Two calls: one slice of 100 ms, 10 of them waited, and one refusal."""
    metrics.ready(True)
    metrics.watch(pending=lambda: 3, queued=lambda: 2, pending_bytes=lambda: 300, missing_workers=lambda: 1)
    metrics.call_began(SEGMENT)
    metrics.batch(4, 0.05)
    timings = StageTimings(
        decode_ms=20.0,
        resample_ms=10.0,
        inference_ms=50.0,
        postprocess_ms=10.0,
        compare_ms=0.0,
        total_ms=100.0,
    )
    metrics.segmented(timings)
    metrics.call_ended(_call("OK", bytes_in=1000, bytes_out=50, slices=1, timings=timings))
    metrics.call_began(SEGMENT)
    metrics.refused("NOT_DICOM")
    metrics.call_ended(_call("INVALID_ARGUMENT", reason="NOT_DICOM", bytes_in=5))


def _call(code: str, **changes: object) -> Call:
    values = {"reason": None, "bytes_in": 0, "bytes_out": 0, "slices": 0, "timings": None}
    return Call(method=SEGMENT, code=code, reference=None, peer=Peer.IPV4, seconds=0.12, **(values | changes))


def test_calls_are_counted_by_method_and_code(metrics: Metrics, read: Callable[[], dict[str, float]]) -> None:
    do_everything(metrics)
    found = read()
    assert found[f'lvseg_calls_started_total{{method="{SEGMENT}"}}'] == 2
    assert found[f'lvseg_calls_total{{code="OK",method="{SEGMENT}"}}'] == 1
    assert found[f'lvseg_calls_total{{code="INVALID_ARGUMENT",method="{SEGMENT}"}}'] == 1
    assert found[f'lvseg_call_duration_seconds_sum{{method="{SEGMENT}"}}'] == pytest.approx(0.24)
    assert (found["lvseg_received_bytes_total"], found["lvseg_sent_bytes_total"]) == (1005, 50)


def test_refusals_are_counted_by_reason_and_start_at_0_where_alerts_watch(
    metrics: Metrics, read: Callable[[], dict[str, float]]
) -> None:
    do_everything(metrics)
    found = read()
    assert {name: value for name, value in found.items() if "refusals" in name} == {
        'lvseg_refusals_total{reason="NOT_DICOM"}': 1,
        'lvseg_refusals_total{reason="INTERNAL"}': 0,
        'lvseg_refusals_total{reason="OVERLOAD"}': 0,
        'lvseg_refusals_total{reason="WORKER_LOST"}': 0,
        'lvseg_refusals_total{reason="ENGINE_LOST"}': 0,
    }


def test_the_stages_of_a_slice_are_seconds_and_what_is_left_is_wait(
    metrics: Metrics, read: Callable[[], dict[str, float]]
) -> None:
    do_everything(metrics)
    found = read()
    stages = {
        name: round(value, 6)
        for name, value in found.items()
        if name.startswith("lvseg_stage_duration_seconds_sum")
    }
    assert stages == {
        f'lvseg_stage_duration_seconds_sum{{stage="{stage}"}}': seconds
        for stage, seconds in {
            "decode": 0.02,
            "resample": 0.01,
            "inference": 0.05,
            "postprocess": 0.01,
            "wait": 0.01,
        }.items()
    }
    assert found["lvseg_slice_duration_seconds_sum"] == pytest.approx(0.1)
    assert found['lvseg_slice_duration_seconds_bucket{le="0.1"}'] == 1
    assert found['lvseg_slice_duration_seconds_bucket{le="0.05"}'] == 0


def test_batches_and_what_waits_are_told(metrics: Metrics, read: Callable[[], dict[str, float]]) -> None:
    do_everything(metrics)
    found = read()
    assert (found["lvseg_batch_slices_sum"], found["lvseg_batch_slices_count"]) == (4, 1)
    assert found["lvseg_batch_duration_seconds_sum"] == pytest.approx(0.05)
    assert (found["lvseg_pending_slices"], found["lvseg_queued_slices"]) == (3, 2)
    assert (found["lvseg_pending_bytes"], found["lvseg_missing_workers"]) == (300, 1)
    assert found["lvseg_pending_slices_limit"] == 64


def test_the_model_is_told_in_labels(metrics: Metrics) -> None:
    (line,) = (line for line in page(metrics).splitlines() if line.startswith("lvseg_model_info"))
    assert 'engine="threshold-cpu"' in line
    assert 'version="0123456789ab"' in line
    assert line.endswith(" 1.0")


def test_readiness_follows_the_server(metrics: Metrics, read: Callable[[], dict[str, float]]) -> None:
    assert read()["lvseg_ready"] == 0
    metrics.ready(True)
    assert read()["lvseg_ready"] == 1


def test_memory_of_processes_of_processes_is_counted(read: Callable[[], dict[str, float]]) -> None:
    """The child starts a grandchild that holds 64 MiB."""
    hold = "held = b'x' * 2**26; print(flush=True); input()"
    command = [
        sys.executable,
        "-c",
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hold!r}])",
    ]
    before = read()['lvseg_memory_resident_bytes{processes="workers"}']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        during = read()['lvseg_memory_resident_bytes{processes="workers"}']
        child.communicate(b"\n")
    assert during - before > 2**26
    assert read()['lvseg_memory_resident_bytes{processes="server"}'] > 2**24


def test_two_servers_in_one_process_count_apart(info: ServerInfo) -> None:
    one, other = Metrics(info), Metrics(info)
    one.refused("NOT_DICOM")
    assert 'reason="NOT_DICOM"' in page(one)
    assert 'reason="NOT_DICOM"' not in page(other)


def test_every_metric_is_documented(metrics: Metrics) -> None:
    do_everything(metrics)
    documented = set(re.findall(r"^\| `(lvseg_\w+)` \|", OPERATIONS.read_text(), re.MULTILINE))
    assert set(re.findall(r"^# TYPE (lvseg_\w+) ", page(metrics), re.MULTILINE)) == documented


def test_a_port_in_use_is_a_server_error_that_names_the_option(metrics: Metrics) -> None:
    with (
        serving_metrics(metrics, "127.0.0.1:0") as address,
        pytest.raises(
            ServerError, match=rf"cannot listen on {address} \(Address already in use\).*--metrics"
        ),
        serving_metrics(metrics, address),
    ):
        pass


@pytest.mark.parametrize("address", ["0.0.0.0:9090", "[::]:9090", "192.0.2.1:9090"])
def test_an_address_that_others_reach_has_to_be_allowed(address: str) -> None:
    options = {"log_format": "text", "log_level": "info", "metrics": address}
    with pytest.raises(OptionError, match="--metrics-insecure"):
        to_observation(**options, metrics_insecure=False)
    assert to_observation(**options, metrics_insecure=True).metrics == address


@pytest.mark.parametrize("address", ["127.0.0.1:9090", "[::1]:9090", "localhost:9090"])
def test_a_loopback_address_needs_no_leave(address: str) -> None:
    observation = to_observation(log_format="text", log_level="info", metrics=address, metrics_insecure=False)
    assert observation.metrics == address


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed (Debian: apt-get install prometheus)")
    return found


def test_promtool_finds_no_fault_with_the_metrics(metrics: Metrics, promtool: str) -> None:
    do_everything(metrics)
    run = subprocess.run(
        [promtool, "check", "metrics"], input=page(metrics), capture_output=True, text=True, timeout=120
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_promtool_accepts_the_alerts_of_the_documentation(promtool: str, tmp_path: Path) -> None:
    (rules,) = re.findall(r"```yaml\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    (tmp_path / "rules.yaml").write_text(rules)
    run = subprocess.run(
        [promtool, "check", "rules", tmp_path / "rules.yaml"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    assert "6 rules found" in run.stdout


def test_the_alerts_ask_for_metrics_that_there_are(metrics: Metrics) -> None:
    do_everything(metrics)
    (rules,) = re.findall(r"```yaml\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    asked = set(re.findall(r"\blvseg_\w+", rules))
    assert asked <= set(re.findall(r"^(lvseg_\w+)", page(metrics), re.MULTILINE))
