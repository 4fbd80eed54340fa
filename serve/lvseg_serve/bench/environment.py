"""What the figures of a benchmark depend on beside the model: the machine, its state and the versions."""

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

import lvseg
from lvseg_export import cpu

Environment = Mapping[str, str | int | float | Sequence[float]]

VOLATILE = frozenset({"load_average", "cpu_mhz", "gpu_clocks"})
"""What differs between any two runs on one machine."""

_PACKAGES = ("lvseg", "onnxruntime", "openvino", "tensorrt", "torch", "numpy", "grpcio", "pydicom")
_FREQUENCY = Path("/sys/devices/system/cpu/cpu0/cpufreq")
_GPU = ("name", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem")
_TIMEOUT_S = 10


def environment(threads: int) -> Environment:
    """Return what can be found out here; what this machine does not tell is absent.

    Args:
        threads: CPU threads that one run may use.
    """
    return {
        "cpu": cpu.model(),
        "cpu_features": " ".join(cpu.features()),
        "cpus": cpu.usable(),
        "threads": threads,
        "load_average": [round(load, 2) for load in os.getloadavg()],
        **_frequency(),
        **_gpu(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "blas": np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"],
        **{name: _version(name) for name in _PACKAGES},
        **_revision(),
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed by this name"


def _frequency() -> dict[str, str | float]:
    """Return the governor and the frequency of the first CPU, which virtual machines do not tell."""
    found: dict[str, str | float] = {}
    governor, frequency = _FREQUENCY / "scaling_governor", _FREQUENCY / "scaling_cur_freq"
    if governor.is_file():
        found["cpu_governor"] = governor.read_text().strip()
    if frequency.is_file():
        found["cpu_mhz"] = int(frequency.read_text()) / 1000
    return found


def _gpu() -> dict[str, str]:
    """Return the GPUs' names, driver and clocks in MHz, with commas between GPUs."""
    query = ("--query-gpu=" + ",".join(_GPU), "--format=csv,noheader,nounits")
    rows = [[cell.strip() for cell in line.split(",")] for line in _said("nvidia-smi", *query).splitlines()]
    if not rows or any(len(row) != len(_GPU) for row in rows):
        return {}
    names, drivers, now, highest, memory = zip(*rows, strict=True)
    clocks = (f"{sm} of {most}, memory {mem}" for sm, most, mem in zip(now, highest, memory, strict=True))
    return {"gpu": ", ".join(names), "gpu_driver": drivers[0], "gpu_clocks": ", ".join(clocks)}


def _revision() -> dict[str, str]:
    """Return the commit that lvseg runs from, where it runs from a checkout."""
    checkout = Path(lvseg.__file__).parents[1]
    if not (checkout / ".git").exists():
        return {}
    described = _said(
        "git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40", "--match="
    )
    return {"revision": described.strip()} if described else {}


def _said(program: str, *arguments: str) -> str:
    """Return what a program prints; nothing where it is not installed, fails or hangs."""
    path = shutil.which(program)
    if path is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command, by its whole path
            [path, *arguments], capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except (subprocess.SubprocessError, OSError):
        return ""
    return done.stdout
