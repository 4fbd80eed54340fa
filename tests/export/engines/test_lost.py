import pytest

from lvseg.errors import EngineError, EngineLostError
from lvseg_export.engines.lost import gpu_error


@pytest.mark.parametrize(
    "message",
    [
        "cudaStreamSynchronize gives cudaErrorIllegalAddress",
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; expr=cudaStreamSynchronize(stream)",
        "CUDA error 719: no text that is known",
        "Error Code 1: Cuda Runtime (unspecified launch failure)",
        "Error Code 1: Cuda Runtime (uncorrectable ECC error encountered)",
    ],
)
def test_an_error_after_which_every_call_fails_is_a_lost_engine(message: str) -> None:
    assert type(gpu_error(message)) is EngineLostError
    assert str(gpu_error(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        "cudaMalloc gives cudaErrorMemoryAllocation",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUDA failure 900: operation not permitted when stream is capturing",
        "ONNX Runtime failed on a batch of shape (700, 1, 719, 214): no room",
    ],
)
def test_an_error_of_one_call_is_an_engine_error(message: str) -> None:
    assert type(gpu_error(message)) is EngineError
