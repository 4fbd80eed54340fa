"""TensorRT's and CUDA's real bindings, on a machine that has neither the libraries nor a GPU."""

import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lvseg_export.choice import RUNTIMES

_SHIM = Path(__file__).parents[3] / "../shared/tools/tensorrt-shim"
_VERSIONS = [("11.4.0.106", "13.5.0"), ("10.16.1.11", "13.0.0")]
"""Of TensorRT and of the CUDA bindings: the newest of both, and the oldest that lvseg takes."""


@dataclass(frozen=True)
class Bindings:
    """Bindings that other processes can import. What needs the libraries behind them fails there."""

    tensorrt: str
    environment: dict[str, str]

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run a command that finds the bindings."""
        return subprocess.run(
            arguments, capture_output=True, text=True, check=False, env={**os.environ, **self.environment}
        )

    def python(self, code: str, *arguments: str | Path) -> str:
        """Run Python code, and return what it prints."""
        result = self.run(sys.executable, "-c", code, *arguments)
        assert result.returncode == 0, result.stderr
        return result.stdout


@pytest.fixture(scope="session", params=_VERSIONS, ids=lambda versions: f"tensorrt-{versions[0]}")
def bindings(request: pytest.FixtureRequest, once: Callable[..., Path]) -> Bindings:
    """TensorRT's bindings of one version, with CUDA's."""
    tensorrt, cuda = request.param
    if not _SHIM.is_file():
        pytest.skip(
            "the tool that makes the bindings importable is not there (../shared/tools/tensorrt-shim)"
        )

    def make(folder: Path) -> None:
        wheels = folder / "wheels"
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels)
        for command in (
            (_SHIM, folder, tensorrt),
            (*pip, f"cuda-bindings=={cuda}", "cuda-pathfinder>=1.4.2"),
        ):
            made = subprocess.run(
                command,
                capture_output=True,
                text=True,
                check=False,
                env={**os.environ, "PYTHON": sys.executable},
            )
            if made.returncode != 0:
                pytest.skip(f"no bindings of TensorRT {tensorrt}: {made.stderr.strip().splitlines()[-1]}")
        for wheel in wheels.glob("*.whl"):
            zipfile.ZipFile(wheel).extractall(folder)

    folder = once(f"bindings/{tensorrt}", make)
    path = os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))
    return Bindings(tensorrt, {"PYTHONPATH": path, "LD_LIBRARY_PATH": str(folder / "lib")})


@pytest.fixture
def on_gpu(request: pytest.FixtureRequest) -> None:
    """Skip, and say why, where this machine cannot run the runtime that the test names by a parameter."""
    runtime = RUNTIMES[request.param]
    if not runtime.installed:
        pytest.skip(f"{runtime.module} is not installed: pip install 'lvseg[{runtime.extra}]'")
    lacks = runtime.lacks("fp32")
    if lacks:
        pytest.skip(lacks)
