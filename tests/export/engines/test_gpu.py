import shutil
import subprocess

import pytest

from lvseg.errors import EngineError
from lvseg_export.engines import gpu

DRIVER = """
int cuInit(unsigned flags) {{ return {init}; }}
int cuDeviceGet(int *device, int ordinal) {{ *device = 40 + ordinal; return {get}; }}
int cuDeviceGetAttribute(int *value, int attribute, int device) {{
    *value = attribute == 75 ? 9 : attribute == 76 ? 1 : -1;
    return device == 40 ? {attribute} : 101;
}}
"""


@pytest.fixture
def driver(tmp_path, monkeypatch):
    """Return what puts a driver in the place of NVIDIA's, whose calls give the statuses that are named."""
    if shutil.which("cc") is None:
        pytest.skip("no C compiler to make a driver with")

    def put(*, init: int = 0, get: int = 0, attribute: int = 0) -> None:
        (tmp_path / "driver.c").write_text(DRIVER.format(init=init, get=get, attribute=attribute))
        library = tmp_path / "libcuda.so.1"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"], check=True)
        monkeypatch.setattr(gpu, "_DRIVER", str(library))

    return put


def test_the_first_gpu_tells_its_compute_capability(driver):
    driver()
    assert gpu.compute_capability() == (9, 1)


@pytest.mark.parametrize(
    ("statuses", "message"),
    [
        ({"init": 100}, "no NVIDIA GPU: cuInit gives error 100; install NVIDIA's driver"),
        ({"get": 101}, "no NVIDIA GPU: cuDeviceGet gives error 101; install NVIDIA's driver"),
        ({"attribute": 1}, "the GPU does not tell its compute capability: error 1; install NVIDIA's driver"),
    ],
)
def test_a_driver_that_gives_an_error_is_told_with_it(driver, statuses, message):
    driver(**statuses)
    with pytest.raises(EngineError, match=message):
        gpu.compute_capability()


def test_a_machine_without_a_driver_says_what_to_do(monkeypatch):
    monkeypatch.setattr(gpu, "_DRIVER", "libnone.so.1")
    with pytest.raises(
        EngineError, match=r"libnone\.so\.1 cannot be loaded; .* see that nvidia-smi lists a GPU"
    ):
        gpu.compute_capability()
