import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from lvseg_export import choice
from lvseg_export.choice import RUNTIMES
from lvseg_serve import doctor


def command(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


def test_what_is_here_is_told_with_its_version():
    findings = {finding.runtime: finding for finding in doctor.diagnose()}
    assert set(findings) == set(RUNTIMES)
    assert findings["onnxruntime"].version == version("onnxruntime")
    assert findings["onnxruntime"].precisions == ("fp32", "fp16", "int8")


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
