"""Both ends in one process; the pipe is a real one and so is the memory."""

import os
from collections.abc import Iterator
from multiprocessing import Pipe

import numpy as np
import pytest

from lvseg_serve.stages import SliceRequest
from lvseg_serve.workers.exchange import Exchange


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, 64 * 2**20)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def ends(memory: int) -> Iterator[tuple[Exchange, Exchange]]:
    one, other = (Exchange(connection, memory) for connection in Pipe())
    yield one, other
    one.close()
    other.close()


def allocated_bytes(memory: int) -> int:
    return os.fstat(memory).st_blocks * 512


def test_a_file_travels_through_the_shared_memory(ends: tuple[Exchange, Exchange], memory: int) -> None:
    one, other = ends
    one.send(SliceRequest(dicom=b"x" * 2**20, frame=3), first=True)
    received = other.receive(copy=False)
    assert (received.dicom, received.frame) == (b"x" * 2**20, 3)
    assert allocated_bytes(memory) == 2**20


def test_an_answer_does_not_overwrite_what_it_answers(ends: tuple[Exchange, Exchange]) -> None:
    one, other = ends
    one.send(np.arange(100_000.0), first=True)
    question = other.receive(copy=False)
    other.send(np.full(100_000, 7.0), first=False)
    np.testing.assert_array_equal(question, np.arange(100_000.0))
    assert (one.receive(copy=True) == 7.0).all()


def test_what_is_received_without_a_copy_cannot_be_written_to(ends: tuple[Exchange, Exchange]) -> None:
    one, other = ends
    one.send(np.zeros(1000), first=True)
    assert not other.receive(copy=False).flags.writeable


def test_memory_beyond_what_an_ordinary_slice_needs_is_given_back(
    ends: tuple[Exchange, Exchange], memory: int
) -> None:
    one, other = ends
    one.send(np.ones(5 * 2**20), first=True)
    assert allocated_bytes(memory) == 40 * 2**20
    other.receive(copy=True)
    other.release()
    assert allocated_bytes(memory) == 8 * 2**20


def test_what_does_not_fit_is_not_sent(ends: tuple[Exchange, Exchange]) -> None:
    one, _ = ends
    with pytest.raises(MemoryError, match="bytes do not fit into 67108864 of shared memory"):
        one.send(np.ones(9 * 2**20), first=True)
