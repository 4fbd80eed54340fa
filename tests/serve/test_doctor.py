import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from lvseg_export import choice
from lvseg_export.choice import RUNTIMES
from lvseg_export.engines import gpu
from lvseg_serve import doctor, doctor_cli


def command(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_what_is_here_is_told_with_its_version():
    findings = {finding.runtime: finding for finding in doctor.diagnose()}
    assert set(findings) == set(RUNTIMES)
    assert findings["onnxruntime"].version == version("onnxruntime")
    assert findings["onnxruntime"].precisions == ("fp32", "fp16", "int8")


def test_a_runtime_without_its_gpu_says_so_once(monkeypatch):
    monkeypatch.setattr(gpu, "_DRIVER", "libnone.so.1")
    (finding,) = (finding for finding in doctor.diagnose() if finding.runtime == "onnxruntime-cuda")
    assert finding.precisions == ()
    assert finding.remedy.startswith("no NVIDIA GPU: libnone.so.1 cannot be loaded; install NVIDIA's driver")
    assert finding.remedy.count("no NVIDIA GPU") == 1


def test_a_broken_installation_names_the_command_that_mends_it(monkeypatch, tmp_path):
    for name in ("onnxruntime", "onnxruntime-gpu"):
        folder = tmp_path / f"{name.replace('-', '_')}-1.27.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.27.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    findings = {finding.runtime: finding for finding in doctor.diagnose()}
    for name in ("onnxruntime", "onnxruntime-cuda"):
        assert findings[name].precisions == ()
        assert "run: pip uninstall -y onnxruntime onnxruntime-gpu" in findings[name].remedy


def test_what_is_missing_names_the_command_that_mends_it(monkeypatch):
    monkeypatch.setattr(choice.Runtime, "installed", False)
    for finding in doctor.diagnose():
        assert (finding.version, finding.precisions) == ("", ())
        assert f"pip install 'lvseg[{RUNTIMES[finding.runtime].extra}]'" in finding.remedy


@pytest.mark.parametrize("word", ["onnxruntime", "openvino", version("onnxruntime")])
def test_the_command_prints_the_matrix(word):
    result = subprocess.run([command("lvseg-doctor")], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert word in result.stdout


def test_the_matrix_shows_commands_to_the_last_bracket(monkeypatch):
    monkeypatch.setattr(choice.Runtime, "installed", False)
    result = CliRunner().invoke(doctor_cli.main)
    for runtime in RUNTIMES.values():
        assert f"pip install 'lvseg[{runtime.extra}]'" in result.output
