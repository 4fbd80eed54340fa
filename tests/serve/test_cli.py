"""lvseg-serve as its own process, with a real bundle on ONNX Runtime."""

import json
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
import tritonclient.grpc as triton
from numpy.typing import NDArray

from lvseg.errors import SecurityError
from lvseg_export.bundle import sha256_of
from lvseg_serve.client import Client, Tls

SERVE = [sys.executable, "-c", "from lvseg_serve.commands import serve; serve()"]

Serving = Callable[..., AbstractContextManager[Any]]


def _fail(*arguments: object) -> tuple[int, str]:
    run = subprocess.run([*SERVE, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert run.stdout == ""
    return run.returncode, run.stderr


def test_a_bundle_is_served_from_the_printed_address(
    serving_process: Serving, dicom: bytes, ventricle: NDArray[np.bool_], threshold_bundle: Path
) -> None:
    with serving_process("--listen", "127.0.0.1:0") as running, Client(running.address) as client:
        answer, info = client.segment(dicom), client.server_info()
    np.testing.assert_array_equal(answer.mask, ventricle)
    assert answer.model.sha256 == sha256_of(threshold_bundle / "model.onnx")
    assert (info.model.engine, info.model.precision, info.threads) == ("onnxruntime-cpu", "fp32", 1)
    assert info.limits.max_message_bytes == 32 * 2**20
    assert {"lvseg", "grpcio", "pydicom"} <= set(info.versions)


def test_the_line_it_prints_names_model_and_engine(serving_process: Serving) -> None:
    with serving_process("--listen", "127.0.0.1:0") as running:
        assert re.fullmatch(
            r"ready: threshold 0123456789ab \(fp32, onnxruntime-cpu\) on 127\.0\.0\.1:\d+; stop with Ctrl-C\n",
            running.ready,
        )


def test_tritons_client_is_answered_where_that_was_asked_for(
    serving_process: Serving, dicom: bytes, ventricle: NDArray[np.bool_]
) -> None:
    tensor = triton.InferInput("dicom", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([dicom], dtype=object))
    with (
        serving_process("--listen", "127.0.0.1:0", "--kserve") as running,
        triton.InferenceServerClient(running.address) as client,
    ):
        answer = client.infer("threshold-dicom", [tensor])
        np.testing.assert_array_equal(answer.as_numpy("mask"), ventricle)


def test_without_tritons_client_its_protocol_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    hidden = f"import sys; sys.modules['tritonclient'] = None; {SERVE[-1]}"
    run = subprocess.run(
        [sys.executable, "-c", hidden, str(tmp_path), "--kserve"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 2
    assert re.fullmatch(
        r"error: tritonclient\S* is not installed; run: pip install 'lvseg\[kserve\]'\n", run.stderr
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_without_a_complaint(
    serving_process: Serving, dicom: bytes, number: signal.Signals
) -> None:
    with serving_process("--listen", "127.0.0.1:0", "--log-level", "warning") as running:
        with Client(running.address) as client:
            client.segment(dicom)
        running.process.send_signal(number)
        rest, errors = running.process.communicate(timeout=60)
    assert (running.process.returncode, rest, errors) == (0, "", "")


def test_a_network_is_listened_on_with_tls_and_tokens(
    serving_process: Serving,
    authority: Any,
    ca: Path,
    tmp_path: Path,
    put: Callable[[Path, bytes], None],
    dicom: bytes,
) -> None:
    certificate, key = authority.issue(tmp_path, "server", "127.0.0.1")
    token = "0123456789abcdef" * 2
    put(tmp_path / "tokens", token.encode())
    secured = ("--tls-certificate", certificate, "--tls-key", key, "--token-file", tmp_path / "tokens")
    with serving_process("--listen", "0.0.0.0:0", *map(str, secured)) as running:
        port = re.search(r"on 0\.0\.0\.0:(\d+);", running.ready)
        assert port, running.ready
        with Client(f"127.0.0.1:{port[1]}", tls=Tls(ca=ca), token=token) as client:
            assert client.segment(dicom).area_mm2 == 900.0
        with (
            Client(f"127.0.0.1:{port[1]}", tls=Tls(ca=ca)) as stranger,
            pytest.raises(SecurityError, match="token"),
        ):
            stranger.server_info()


def test_the_name_that_a_stranger_asks_for_is_not_logged(
    serving_process: Serving, authority: Any, ca: Path, tmp_path: Path
) -> None:
    certificate, key = authority.issue(tmp_path, "server", "127.0.0.1")
    secured = ("--tls-certificate", certificate, "--tls-key", key)
    context = ssl.create_default_context(cafile=ca)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    with serving_process("--listen", "127.0.0.1:0", *map(str, secured)) as running:
        host, port = running.address.split(":")
        with (
            socket.create_connection((host, int(port))) as connection,
            context.wrap_socket(connection, server_hostname="doe-john.example") as stranger,
        ):
            assert stranger.selected_alpn_protocol() == "h2"
        with Client(running.address, tls=Tls(ca=ca)) as client:
            client.server_info()
        running.process.send_signal(signal.SIGTERM)
        _, errors = running.process.communicate(timeout=60)
    assert "GetServerInfo" in errors
    assert "doe-john" not in errors


def test_what_it_does_is_logged_from_ready_to_stopped(serving_process: Serving, dicom: bytes) -> None:
    with serving_process("--listen", "127.0.0.1:0", "--log-format", "json") as running:
        with Client(running.address) as client:
            client.segment(dicom)
        lines = [running.process.stderr.readline(), running.process.stderr.readline()]
        running.process.send_signal(signal.SIGTERM)
        lines += running.process.communicate(timeout=60)[1].splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["ready", "call", "stopping", "stopped"]
    assert events[0]["address"] == running.address
    assert (events[1]["code"], events[1]["slices"]) == ("OK", 1)
    assert events[2]["signal"] == "SIGTERM"


def test_metrics_are_given_where_they_are_asked_for(serving_process: Serving, dicom: bytes) -> None:
    with serving_process("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0") as running:
        address = re.search(r"metrics=(\S+)", running.process.stderr.readline())
        assert address
        with Client(running.address) as client:
            client.segment(dicom)
        running.process.stderr.readline()  # of the call: by then it is counted
        with urlopen(f"http://{address[1]}/metrics", timeout=60) as page:
            text = page.read().decode()
    assert 'lvseg_model_info{architecture="threshold",engine="onnxruntime-cpu"' in text
    assert 'lvseg_calls_total{code="OK",method="lvseg_api.v1.SegmentationService/Segment"} 1.0' in text
    assert "lvseg_batch_slices_count 1.0" in text
    assert "lvseg_missing_workers 0.0" in text


def test_metrics_for_other_machines_have_to_be_allowed(threshold_bundle: Path) -> None:
    code, error = _fail(threshold_bundle, "--metrics", "0.0.0.0:0")
    assert code == 2
    assert re.fullmatch(r"error: --metrics 0\.0\.0\.0:0: .*--metrics-insecure\n", error)


def test_a_port_in_use_is_one_line_and_exit_code_1(serving_process: Serving, threshold_bundle: Path) -> None:
    with serving_process("--listen", "127.0.0.1:0") as running:
        code, error = _fail(threshold_bundle, "--engine", "onnxruntime", "--listen", running.address)
    assert code == 1
    assert re.fullmatch(
        rf"error: cannot listen on {re.escape(running.address)} \(Address already in use\); .*--listen\n",
        error,
    )


def test_a_folder_for_temporary_files_with_too_long_a_path_is_one_line_and_exit_code_1(
    threshold_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / ("x" * 100)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    code, error = _fail(threshold_bundle, "--engine", "onnxruntime", "--listen", "127.0.0.1:0")
    assert code == 1
    assert re.fullmatch(r"error: worker processes cannot be started .*; .* set TMPDIR\n", error)


def test_a_bundle_with_a_changed_byte_is_one_line_and_exit_code_2(threshold_bundle: Path) -> None:
    model = threshold_bundle / "model.onnx"
    model.write_bytes(model.read_bytes().replace(b"threshold", b"thresholc"))
    code, error = _fail(threshold_bundle)
    assert code == 2
    assert re.fullmatch(r"error: .*model\.onnx has changed since export.*\n", error)


def test_a_folder_that_is_no_bundle_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    code, error = _fail(tmp_path)
    assert code == 2
    assert re.fullmatch(r"error: .* is not a bundle .*\n", error)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--listen", "localhost"),
        ("--metrics", "localhost"),
        ("--log-level", "loud"),
        ("--engine", "magic"),
        ("--threads", "0"),
        ("--batch-opt", "32"),
        ("--side-max", "8192"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line_and_exit_code_2(
    threshold_bundle: Path, option: str, value: str
) -> None:
    code, error = _fail(threshold_bundle, option, value)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert option in error
