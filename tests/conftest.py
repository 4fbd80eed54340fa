"""Fixtures that several rooms share."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from filelock import FileLock

from lvseg.data.phantom import write_phantoms

Once = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture(scope="session")
def once(tmp_path_factory: pytest.TempPathFactory) -> Once:
    """Return the path of a name, which a function filled once for all processes of a run of the tests; read-only.

    What is made appears whole under its name: another process waits for it, and one that fails leaves nothing.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent

    def once(name: str, make: Callable[[Path], object]) -> Path:
        path = folder / "once" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock"):
            if not path.exists():
                with TemporaryDirectory(dir=folder) as scratch:
                    made = Path(scratch) / path.name
                    make(made)
                    made.rename(path)
        return path

    return once


@pytest.fixture(scope="session")
def sunnybrook() -> Path:
    """Four real patients in the challenge's layout; read-only."""
    folder = Path(__file__).parents[1] / "../shared/data/sunnybrook"
    if not folder.is_dir():
        pytest.skip("the Sunnybrook patients are not beside this checkout (../shared/data/sunnybrook)")
    return folder.resolve()


@pytest.fixture(scope="session")
def phantom(once: Once) -> Path:
    """Two small phantom patients in the challenge's layout; read-only."""
    return once("data/phantom", lambda folder: write_phantoms(folder, patients=2, seed=1))


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
def trained_run(tiny_training: list[str], once: Once) -> Path:
    """A tiny FCN-8s, trained on one of the phantom patients; read-only."""

    def train(folder: Path) -> None:
        subprocess.run([*tiny_training, "--out", folder], check=True, capture_output=True)

    return once("runs/tiny", train)


@pytest.fixture(scope="session")
def bundle(trained_run: Path, once: Once) -> Path:
    """The bundle of the tiny FCN-8s; read-only."""

    def export(folder: Path) -> None:
        subprocess.run(
            [command("lvseg-export"), trained_run, "--out", folder], check=True, capture_output=True
        )

    return once("bundles/tiny", export)


def command(name: str) -> str:
    """Return the path of an installed command."""
    return str(Path(sys.executable).with_name(name))
