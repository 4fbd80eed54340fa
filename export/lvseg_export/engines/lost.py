"""Which errors of CUDA end everything: after them every call of this process fails, whoever makes it.

The CUDA runtime's documentation (``cudaError_t``) says of each code below that the process has to be started anew, or
that memory of the GPU is no longer what was written there.
"""

import re

from lvseg.errors import EngineError, EngineLostError

_LOST = {
    214: ("cudaErrorECCUncorrectable", "uncorrectable ECC error"),
    220: ("cudaErrorNvlinkUncorrectable", "uncorrectable NVLink error"),
    700: ("cudaErrorIllegalAddress", "an illegal memory access was encountered"),
    702: ("cudaErrorLaunchTimeout", "the launch timed out and was terminated"),
    710: ("cudaErrorAssert", "device-side assert triggered"),
    714: ("cudaErrorHardwareStackError", "hardware stack error"),
    715: ("cudaErrorIllegalInstruction", "an illegal instruction was encountered"),
    716: ("cudaErrorMisalignedAddress", "misaligned address"),
    717: ("cudaErrorInvalidAddressSpace", "operation not supported on global/shared address space"),
    718: ("cudaErrorInvalidPc", "invalid program counter"),
    719: ("cudaErrorLaunchFailure", "unspecified launch failure"),
}
"""By code: its name, and what ``cudaGetErrorString`` says of it. The runtime's bindings give the name, ONNX Runtime
code and text, TensorRT's log the text alone."""
_WORDS = tuple(word.lower() for words in _LOST.values() for word in words)
_CODE = re.compile(r"\bCUDA (?:failure|error):? ?(\d{3})\b", re.IGNORECASE)


def gpu_error(message: str) -> EngineError:
    """Return the error of an engine on a GPU that failed: an :class:`EngineLostError` where nothing will work again.

    Args:
        message: What failed, with what CUDA or the library says of it.
    """
    said = message.lower()
    codes = {int(code) for code in _CODE.findall(message)}
    lost = codes & _LOST.keys() or any(word in said for word in _WORDS)
    return EngineLostError(message) if lost else EngineError(message)
