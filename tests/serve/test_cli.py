"""lvseg-serve as its own process, with a real bundle on ONNX Runtime."""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lvseg_export.bundle import EngineFile, InputContract, Manifest, ModelInfo, sha256_of
from lvseg_serve.client import Client

SERVE = [sys.executable, "-c", "from lvseg_serve.commands import serve; serve()"]

Server = subprocess.Popen[str]
Serving = Callable[..., AbstractContextManager[tuple[Server, str]]]


def _threshold_graph() -> onnx.ModelProto:
    """The contract's graph for the simplest model: what is brighter than 500 is left ventricle."""
    constants = [("limit", np.float32(500)), ("channel", np.array([1], dtype=np.int64))]
    graph = helper.make_graph(
        [
            helper.make_node("Squeeze", ["pixels", "channel"], ["grey"]),
            helper.make_node("Greater", ["grey", "limit"], ["bright"]),
            helper.make_node("Cast", ["bright"], ["mask"], to=TensorProto.UINT8),
            helper.make_node("Cast", ["bright"], ["probability"], to=TensorProto.FLOAT),
        ],
        "threshold",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["N", 1, "H", "W"])],
        [
            helper.make_tensor_value_info("mask", TensorProto.UINT8, ["N", "H", "W"]),
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["N", "H", "W"]),
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(_threshold_graph().SerializeToString())
    pixels = np.array([[[[100, 1000], [1000, 100]]]], dtype=np.float32)
    mask = pixels[:, 0] > 500
    np.savez(
        folder / "reference.npz",
        pixels=pixels,
        mask=mask.astype(np.uint8),
        probability=mask.astype(np.float32),
    )
    manifest = Manifest(
        model=ModelInfo(name="threshold", version="0123456789ab", architecture="threshold", options={}),
        input=InputContract(channels=1, working_spacing_mm=1.5),
        labels=("background", "left ventricle"),
        training={},
        engines=(EngineFile(file="model.onnx", runtime="onnx", precision="fp32"),),
        sha256={path.name: sha256_of(path) for path in folder.iterdir()},
    )
    (folder / "manifest.json").write_text(manifest.to_json())
    return folder


@pytest.fixture
def serving(bundle: Path) -> Serving:
    """Run the command until the block ends; gives the process and the line that it printed when ready."""

    @contextmanager
    def serving(*arguments: str) -> Iterator[tuple[Server, str]]:
        command = [*SERVE, str(bundle), "--engine", "onnxruntime", "--threads", "1", *arguments]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            try:
                assert process.stdout is not None
                yield process, process.stdout.readline()
            finally:
                process.kill()

    return serving


def _address(ready: str) -> str:
    match = re.search(r"127\.0\.0\.1:[1-9][0-9]*", ready)
    assert match, ready
    return match[0]


def _fail(*arguments: object) -> tuple[int, str]:
    run = subprocess.run([*SERVE, *map(str, arguments)], capture_output=True, text=True, timeout=120)
    assert run.stdout == ""
    return run.returncode, run.stderr


def test_a_bundle_is_served_from_the_printed_address(
    serving: Serving, dicom: bytes, ventricle: NDArray[np.bool_], bundle: Path
) -> None:
    with serving("--listen", "127.0.0.1:0") as (_, ready), Client(_address(ready)) as client:
        answer, info = client.segment(dicom), client.server_info()
    np.testing.assert_array_equal(answer.mask, ventricle)
    assert answer.model.sha256 == sha256_of(bundle / "model.onnx")
    assert (info.model.engine, info.model.precision, info.threads) == ("onnxruntime-cpu", "fp32", 1)
    assert info.limits.max_message_bytes == 32 * 2**20
    assert {"lvseg", "grpcio", "pydicom"} <= set(info.versions)


def test_the_line_it_prints_names_model_and_engine(serving: Serving) -> None:
    with serving("--listen", "127.0.0.1:0") as (_, ready):
        assert re.fullmatch(
            r"ready: threshold 0123456789ab \(fp32, onnxruntime-cpu\) on 127\.0\.0\.1:\d+; stop with Ctrl-C\n",
            ready,
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_it_without_a_word(serving: Serving, dicom: bytes, number: signal.Signals) -> None:
    with serving("--listen", "127.0.0.1:0") as (process, ready):
        with Client(_address(ready)) as client:
            client.segment(dicom)
        process.send_signal(number)
        rest, errors = process.communicate(timeout=60)
    assert (process.returncode, rest, errors) == (0, "", "")


def test_a_port_in_use_is_one_line_and_exit_code_1(serving: Serving, bundle: Path) -> None:
    with serving("--listen", "127.0.0.1:0") as (_, ready):
        address = _address(ready)
        code, error = _fail(bundle, "--engine", "onnxruntime", "--listen", address)
    assert code == 1
    assert re.fullmatch(
        rf"error: cannot listen on {re.escape(address)} \(Address already in use\); .*--listen\n", error
    )


def test_a_bundle_with_a_changed_byte_is_one_line_and_exit_code_2(bundle: Path) -> None:
    model = bundle / "model.onnx"
    model.write_bytes(model.read_bytes().replace(b"threshold", b"thresholc"))
    code, error = _fail(bundle)
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
        ("--engine", "magic"),
        ("--threads", "0"),
        ("--batch-opt", "32"),
        ("--side-max", "8192"),
    ],
)
def test_an_option_that_cannot_be_used_is_one_line_and_exit_code_2(
    bundle: Path, option: str, value: str
) -> None:
    code, error = _fail(bundle, option, value)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert option in error
