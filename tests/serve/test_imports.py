import importlib
import subprocess
import sys

import pytest

_LOADED = "import sys, {module}; print(*sorted(set(name.split('.')[0] for name in sys.modules)))"


def _loaded_by(module: str) -> set[str]:
    run = subprocess.run(
        [sys.executable, "-c", _LOADED.format(module=module)], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "module", ["lvseg_serve.client", "lvseg_serve.client.cli", "lvseg_serve.client.admin_cli"]
)
def test_the_client_needs_neither_torch_nor_an_engine(module: str) -> None:
    assert not _loaded_by(module) & {"torch", "onnxruntime", "onnx", "lvseg_export"}


def test_the_server_needs_neither_torch_nor_onnx() -> None:
    assert not _loaded_by("lvseg_serve.cli") & {"torch", "onnx"}


@pytest.mark.parametrize("module", ["lvseg_serve.cli", "lvseg_serve.rpc.server", "lvseg_serve.client"])
def test_tritons_client_is_imported_only_when_it_is_asked_for(module: str) -> None:
    assert "tritonclient" not in _loaded_by(module)


def test_the_benchmark_needs_neither_torch_nor_onnx_nor_matplotlib_until_asked() -> None:
    assert not _loaded_by("lvseg_serve.bench.cli") & {"torch", "onnx", "matplotlib"}


def test_the_use_case_knows_neither_grpc_nor_protobuf() -> None:
    assert not _loaded_by("lvseg_serve.segmenter") & {"grpc", "google", "lvseg_api"}


def test_every_exported_name_exists() -> None:
    client = importlib.import_module("lvseg_serve.client")
    assert client.__all__ == sorted(client.__all__)
    assert all(hasattr(client, name) for name in client.__all__)
