"""Fixtures that several rooms share."""

import subprocess
import sys
from pathlib import Path

import pytest

from lvseg.data.phantom import write_phantoms


@pytest.fixture(scope="session")
def sunnybrook() -> Path:
    """Four real patients in the challenge's layout; read-only."""
    folder = Path(__file__).parents[1] / "../shared/data/sunnybrook"
    if not folder.is_dir():
        pytest.skip("the Sunnybrook patients are not beside this checkout (../shared/data/sunnybrook)")
    return folder.resolve()


@pytest.fixture(scope="session")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small phantom patients in the challenge's layout; read-only."""
    folder = tmp_path_factory.mktemp("data") / "phantom"
    write_phantoms(folder, patients=2, seed=1)
    return folder


TINY = (
    "--epochs 60 --validation-interval 10 --learning-rate 0.01 --window 64 --batch-size 4 --threads 1"
    " --width 0.125 --fc-channels 16 --dropout 0 --working-spacing median"
)
"""Options of a training that takes seconds and learns something."""


@pytest.fixture(scope="session")
def tiny_training(phantom: Path) -> list[str]:
    """The command of a tiny training, but for ``--out``."""
    where = ["--images", str(phantom), "--contours", str(phantom), "--validate", "SC-PH-02"]
    return [command("lvseg-train"), *where, *TINY.split()]


@pytest.fixture(scope="session")
def trained_run(tiny_training: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FCN-8s, trained on one of the phantom patients; read-only."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    subprocess.run([*tiny_training, "--out", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def bundle(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of the tiny FCN-8s; read-only."""
    folder = tmp_path_factory.mktemp("bundles") / "tiny"
    subprocess.run([command("lvseg-export"), trained_run, "--out", folder], check=True, capture_output=True)
    return folder


def command(name: str) -> str:
    """Return the path of an installed command."""
    return str(Path(sys.executable).with_name(name))
