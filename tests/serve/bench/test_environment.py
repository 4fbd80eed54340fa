import os
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

import lvseg
from lvseg_serve.bench import environment as module
from lvseg_serve.bench.environment import environment


@pytest.fixture
def nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Put a program of this name first on the path."""

    def make(script: str) -> None:
        program = tmp_path / "nvidia-smi"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    return make


def test_the_machine_and_the_versions_are_told():
    found = environment(3)
    assert found["threads"] == 3
    assert found["cpus"] == len(os.sched_getaffinity(0))
    assert found["onnxruntime"] == version("onnxruntime")
    assert len(found["load_average"]) == 3
    assert found["cpu"]
    assert found["blas"]


def test_gpus_are_told_with_driver_and_clocks(nvidia_smi):
    nvidia_smi(
        'test "$1" = "--query-gpu=name,driver_version,clocks.sm,clocks.max.sm,clocks.mem" || exit 9\n'
        "echo 'NVIDIA L4, 580.1, 210, 2040, 405'; echo 'NVIDIA L4, 580.1, 2010, 2040, 6251'"
    )
    found = environment(1)
    assert (found["gpu"], found["gpu_driver"]) == ("NVIDIA L4, NVIDIA L4", "580.1")
    assert found["gpu_clocks"] == "210 of 2040, memory 405, 2010 of 2040, memory 6251"


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "sleep 60"])
def test_without_a_gpu_that_answers_there_is_none(nvidia_smi, monkeypatch, script):
    monkeypatch.setattr(module, "_TIMEOUT_S", 0.5)
    nvidia_smi(f"exec {script}" if script.startswith("sleep") else script)
    assert "gpu" not in environment(1)


def test_a_checkout_tells_its_commit_and_an_installed_package_none(tmp_path, monkeypatch):
    package = tmp_path / "lvseg" / "__init__.py"
    monkeypatch.setattr(lvseg, "__file__", str(package))
    assert "revision" not in environment(1)
    names = ("-c", "user.name=A", "-c", "user.email=a@b")
    for arguments in (("init", "-q"), (*names, "commit", "-q", "--allow-empty", "-m", "first")):
        subprocess.run(["git", "-C", tmp_path, *arguments], check=True)
    commit = subprocess.run(
        ["git", "-C", tmp_path, "rev-parse", "HEAD"], check=True, capture_output=True, text=True
    ).stdout.strip()
    assert environment(1)["revision"] == commit
    package.parent.mkdir()
    package.touch()
    subprocess.run(["git", "-C", tmp_path, "add", "."], check=True)
    assert environment(1)["revision"] == f"{commit}-dirty"


def test_what_the_system_tells_of_the_frequency_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_FREQUENCY", tmp_path)
    assert "cpu_governor" not in environment(1)
    (tmp_path / "scaling_governor").write_text("powersave\n")
    (tmp_path / "scaling_cur_freq").write_text("2450000\n")
    found = environment(1)
    assert (found["cpu_governor"], found["cpu_mhz"]) == ("powersave", 2450.0)
