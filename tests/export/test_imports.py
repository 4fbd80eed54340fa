import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    "module",
    [
        "lvseg_export.bundle",
        "lvseg_export.choice",
        "lvseg_export.engines.gpu",
        "lvseg_export.engines.onnxruntime",
        "lvseg_export.engines.onnxruntime_cuda",
        "lvseg_export.engines.openvino",
        "lvseg_export.engines.plans",
    ],
)
def test_the_running_half_imports_neither_torch_nor_onnx(module):
    code = f"import sys, {module}; print(*{{'torch', 'onnx', 'monai', 'lightning'}} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "\n")


@pytest.mark.parametrize("module", ["lvseg_export.cli", "lvseg_export.evaluate_cli"])
def test_export_needs_nothing_that_only_training_has(module):
    training = {"lightning", "monai", "jinja2", "tensorboard", "nibabel"}
    code = f"import sys, {module}; print(*{training!r} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "\n")
