"""A server that speaks the Open Inference Protocol too, and Triton's own client for it."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

import numpy as np
import pytest
import tritonclient.grpc as triton
from numpy.typing import NDArray

from lvseg_export.engines.base import Engine
from lvseg_serve.rpc.kserve.face import add_kserve

ServingKserve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def serving_kserve(serving: Callable[..., AbstractContextManager[str]]) -> ServingKserve:
    """Run a server with both faces; gives its address."""

    def serving_kserve(
        engine: Engine, *, guarded: Mapping[str, object] = MappingProxyType({}), **options: object
    ) -> AbstractContextManager[str]:
        return serving(engine, guarded={"faces": [add_kserve], **guarded}, **options)

    return serving_kserve


@pytest.fixture
def address(serving_kserve: ServingKserve, engine: Engine) -> Iterator[str]:
    with serving_kserve(engine) as address:
        yield address


@pytest.fixture
def client(address: str) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(address) as client:
        yield client


@pytest.fixture
def as_input() -> Callable[[str, NDArray], triton.InferInput]:
    """Make an input of Triton's client from an array; objects become BYTES."""

    def as_input(name: str, array: NDArray) -> triton.InferInput:
        tensor = triton.InferInput(name, list(array.shape), triton.np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array)
        return tensor

    return as_input


@pytest.fixture
def pixels() -> NDArray[np.float32]:
    """Two slices on the working grid: a square of 4 x 5 bright pixels in the first, none in the second."""
    pixels = np.full((2, 1, 32, 40), 100, dtype=np.float32)
    pixels[0, 0, 10:14, 20:25] = 1000
    return pixels
