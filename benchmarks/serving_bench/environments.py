"""The peers' virtual environments: each has its own, outside of the repository."""

import subprocess
import venv
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

SHARED_WORK = ("onnxruntime", "pydicom", "pillow", "scipy")
"""What the work needs: the same versions as here."""

_INSTALL_S = 900
_DONE = "benchmark-requirements.txt"


class InstallError(Exception):
    """A peer cannot be installed."""


def peer_python(folder: Path, requirements: Sequence[str]) -> Path:
    """Return the interpreter of an environment with a peer in it; it is made where it is not there yet.

    Raises:
        InstallError: If pip cannot install it.
    """
    wanted = [*requirements, *(f"{name}=={version(name)}" for name in SHARED_WORK)]
    python, done = folder / "bin" / "python", folder / _DONE
    if done.is_file() and done.read_text().split() == wanted:
        return python
    venv.create(folder, with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=_INSTALL_S)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"not installed after {_INSTALL_S} s") from error
    except subprocess.CalledProcessError as error:
        errors = [line for line in error.stderr.splitlines() if line.startswith("ERROR")]
        raise InstallError(f"pip: {errors[-1] if errors else error}") from error
    done.write_text("\n".join(wanted) + "\n")
    return python


def versions(python: Path, packages: Sequence[str]) -> str:
    """Return the versions of packages in an environment, such as ``"litserve 0.2.19, uvicorn 0.54.0"``."""
    code = "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
    done = subprocess.run(  # noqa: S603
        [str(python), "-c", code, *packages], check=True, capture_output=True, text=True
    )
    return ", ".join(f"{name} {number}" for name, number in zip(packages, done.stdout.split(), strict=True))
