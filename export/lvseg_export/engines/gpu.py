"""The GPU of this machine, asked of its driver: no library of CUDA has to be installed for it."""

import ctypes

from lvseg.errors import EngineError

_DRIVER = "libcuda.so.1"
# CUdevice_attribute of the driver's interface, where numbers never change.
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76
_REMEDY = "install NVIDIA's driver, and see that nvidia-smi lists a GPU"


def compute_capability() -> tuple[int, int]:
    """Return the compute capability of the first GPU that CUDA shows this process, such as ``(9, 0)``.

    Raises:
        EngineError: If there is none; the message says why and what to do.
    """
    try:
        driver = ctypes.CDLL(_DRIVER)
    except OSError as error:
        raise EngineError(f"no NVIDIA GPU: {_DRIVER} cannot be loaded; {_REMEDY}") from error
    device = ctypes.c_int()
    for call, arguments in (("cuInit", (0,)), ("cuDeviceGet", (ctypes.byref(device), 0))):
        status = getattr(driver, call)(*arguments)
        if status:
            raise EngineError(f"no NVIDIA GPU: {call} gives error {status}; {_REMEDY}")
    return _attribute(driver, _CAPABILITY_MAJOR, device), _attribute(driver, _CAPABILITY_MINOR, device)


def _attribute(driver: ctypes.CDLL, attribute: int, device: ctypes.c_int) -> int:
    value = ctypes.c_int()
    status = driver.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
    if status:
        raise EngineError(f"the GPU does not tell its compute capability: error {status}; {_REMEDY}")
    return value.value
