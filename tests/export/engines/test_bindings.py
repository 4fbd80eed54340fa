"""The names, signatures and enums that the TensorRT engine uses, held to the real bindings by a type checker.

Stubs are made from the bindings themselves, whose docstrings hold the signatures; nothing is run on a GPU.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = Path(__file__).parents[3]
ENGINE = ("tensorrt.py", "tensorrt_build.py", "cuda.py")

MISTAKES = {
    "tensorrt_build.py": {
        "config.clear_flag(": "config.unset_flag(",
        "NetworkDefinitionCreationFlag.STRONGLY_TYPED": "NetworkDefinitionCreationFlag.EXPLICIT",
        "error.desc()": "error.description()",
        "build_serialized_network(network, config)": "build_serialized_network(network)",
        "set_timing_cache(config.create_timing_cache(former), False)": "set_timing_cache(former, False)",
    },
    "tensorrt.py": {
        "trt.DataType.UINT8": "trt.DataType.BYTE",
        "engine.get_tensor_dtype(name)": "engine.get_tensor_dtype(0)",
        "self._engine.device_memory_size_v2": "self._engine.memory_size",
        "execute_async_v3(": "execute_async_v2(",
        "set_device_memory(self._scratch.address, self._scratch_size)": "set_device_memory(0)",
    },
    "cuda.py": {
        "cudart.cudaMallocHost": "cudart.cudaMallocPinned",
        "cudart.cudaGraphInstantiate, captured, 0": "cudart.cudaGraphInstantiate, captured",
        "kinds.cudaMemcpyHostToDevice": "kinds.cudaMemcpyUp",
        "cudart.cudaEventRecord": "cudart.cudaEventMark",
        "cudart.cudaEventElapsedTime, earlier._handle, self._handle": "cudart.cudaEventElapsedTime, self._handle",
    },
}
"""By file: what stands there, and what neither version of the bindings has."""

# Stubgen knows nothing of Cython's functions but their names.
_CUDA_STUB = """
import inspect
from cuda.bindings import runtime

print("from typing import Any, ClassVar")
for name in dir(runtime):
    value = getattr(runtime, name)
    if not name.startswith("cuda"):
        continue
    if isinstance(value, type) and hasattr(value, "__members__"):
        print(f"class {name}:", *(f"    {member}: ClassVar[Any]" for member in value.__members__), sep="\\n")
    elif type(value).__name__ == "cython_function_or_method":
        print(f"def {name}({', '.join(inspect.signature(value).parameters)}) -> Any: ...")
    else:
        print(f"{name}: Any")
"""


@pytest.fixture(scope="session")
def stubs(bindings, tmp_path_factory) -> Path:
    """Stub files of TensorRT and of the CUDA runtime."""
    folder = tmp_path_factory.mktemp("stubs")
    stubgen = Path(sys.executable).with_name("stubgen")
    module = ("--module", "tensorrt_bindings.tensorrt")
    made = bindings.run(stubgen, "--inspect-mode", "--quiet", "--output", folder, *module)
    assert made.returncode == 0, made.stderr
    tensorrt = folder / "tensorrt_bindings/tensorrt.pyi"
    # A variable named bool hides the type, and one signature of a method that we do not use is none.
    text = re.sub(r"^bool: .*$", "", tensorrt.read_text(), flags=re.M)
    tensorrt.write_text(re.sub(r"def add_scale_nd\(.*", "def add_scale_nd(self, *args): ...", text))
    (folder / "cuda/bindings").mkdir(parents=True)
    for package in ("tensorrt_bindings", "cuda", "cuda/bindings"):
        (folder / package / "__init__.pyi").touch()
    (folder / "cuda/bindings/runtime.pyi").write_text(bindings.python(_CUDA_STUB))
    (folder / "tensorrt").mkdir()
    (folder / "tensorrt/__init__.pyi").write_text(
        "from tensorrt_bindings.tensorrt import *\n__version__: str\n"
    )
    (folder / "mypy.ini").write_text(
        "[mypy]\ncheck_untyped_defs = True\nexplicit_package_bases = True\nfollow_imports = silent\n"
    )
    return folder


@pytest.fixture(scope="session")
def complaints(stubs):
    """Return what the type checker says of the engine's files in a source root."""

    def check(root: Path) -> list[str]:
        engines = root / "lvseg_export/engines"
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "mypy",
                "--config-file",
                stubs / "mypy.ini",
                "--cache-dir",
                stubs / "cache",
            ]
            + [engines / name for name in ENGINE],
            env={"MYPYPATH": f"{stubs}:{root}:{PACKAGES}"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "prevented further checking" not in result.stdout, result.stdout
        assert not result.stderr
        return [line for line in result.stdout.splitlines() if line.startswith(str(engines))]

    return check


def test_every_name_and_signature_is_one_of_the_bindings(complaints):
    assert complaints(PACKAGES / "export") == []


def test_a_wrong_one_is_found_wherever_it_stands(complaints, tmp_path):
    root = shutil.copytree(PACKAGES / "export", tmp_path / "export")
    expected = set()
    for file, changes in MISTAKES.items():
        source = root / "lvseg_export/engines" / file
        text = source.read_text()
        for right, wrong in changes.items():
            assert text.count(right) == 1, right
            text = text.replace(right, wrong)
        source.write_text(text)
        for number, line in enumerate(text.splitlines(), start=1):
            expected.update(f"{source}:{number}" for wrong in changes.values() if wrong in line)
    assert len(expected) == sum(map(len, MISTAKES.values()))
    assert {line.partition(": error:")[0] for line in complaints(root) if ": error:" in line} == expected


def test_precision_flags_are_gone_from_the_newest(bindings):
    flags = bindings.python("import tensorrt; print(*tensorrt.BuilderFlag.__members__)").split()
    assert "TF32" in flags
    assert ("FP16" in flags) == bindings.tensorrt.startswith("10.")
