"""Real processes, given functions of the standard library and NumPy to run."""

import asyncio
import math
import operator
import os
import signal
import time
from multiprocessing import forkserver

import numpy as np
import pytest

from lvseg.errors import DicomError, InputError, WorkerError, WorkerLostError
from lvseg_serve.stages import SliceRequest, prepare
from lvseg_serve.workers.limits import WorkerLimits
from lvseg_serve.workers.pool import WorkerProcesses


async def test_a_function_is_called_in_another_process():
    async with WorkerProcesses(1) as workers:
        assert await workers.run(os.getpid) in {*workers.pids} - {os.getpid()}


async def test_arrays_go_there_and_come_back():
    pixels = np.random.default_rng(0).random((700, 700))
    async with WorkerProcesses(1) as workers:
        back = await workers.run(np.negative, pixels)
        np.testing.assert_array_equal(back, -pixels)
        again = await workers.run(np.positive, pixels)
        np.testing.assert_array_equal(back, -pixels)  # an answer is not overwritten by the next one
        again += 1  # and is the caller's own


async def test_an_answer_may_be_a_view_of_the_question():
    pixels = np.arange(300_000.0).reshape(500, 600)
    async with WorkerProcesses(1) as workers:
        np.testing.assert_array_equal(await workers.run(np.transpose, pixels), pixels.T)


async def test_more_jobs_than_workers_wait_for_their_turn():
    async with WorkerProcesses(2) as workers:
        assert await asyncio.gather(*(workers.run(math.factorial, n) for n in range(20))) == [
            math.factorial(n) for n in range(20)
        ]


async def test_a_job_that_cannot_be_sent_costs_no_worker():
    async with WorkerProcesses(1) as workers:
        with pytest.raises(Exception, match="pickle"):
            await workers.run(operator.call, lambda: None)
        assert await workers.run(math.factorial, 3) == 6


async def test_a_refusal_comes_back_with_all_that_it_says(make_dicom):
    dicom = make_dicom(np.zeros((40, 40)), spacing=None)
    async with WorkerProcesses(1) as workers:
        with pytest.raises(DicomError, match="PixelSpacing is absent") as refused:
            await workers.run(prepare, SliceRequest(dicom=dicom), 1.0)
    assert (refused.value.reason, refused.value.field) == ("NO_PIXEL_SPACING", "PixelSpacing")
    assert refused.value.expected.startswith("two positive numbers")


async def test_any_other_error_comes_back_without_its_text():
    async with WorkerProcesses(1) as workers:
        with pytest.raises(WorkerError) as failed:
            await workers.run(int, "a patient's name")
    assert "ValueError in _done (worker.py:" in str(failed.value)
    assert "patient" not in str(failed.value)


async def test_a_job_that_wants_too_much_memory_is_the_callers_fault():
    async with WorkerProcesses(1, WorkerLimits(memory_bytes=64 * 2**20)) as workers:
        with pytest.raises(InputError) as refused:
            await workers.run(bytearray, 2**28)
        assert refused.value.reason == "TOO_MUCH_MEMORY"
        assert len(await workers.run(bytearray, 2**20)) == 2**20


async def test_a_job_whose_answer_takes_too_much_memory_to_send_is_the_callers_fault():
    async with WorkerProcesses(1, WorkerLimits(memory_bytes=64 * 2**20)) as workers:
        before = workers.pids
        with pytest.raises(InputError) as refused:
            await workers.run(
                bytearray, 48 * 2**20
            )  # there is room for it once, and none for it pickled beside it
        assert refused.value.reason == "TOO_MUCH_MEMORY"
        assert len(await workers.run(bytearray, 2**20)) == 2**20
        assert workers.pids == before


async def test_a_job_that_takes_too_much_time_is_the_callers_fault():
    async with WorkerProcesses(1, WorkerLimits(cpu_s=1)) as workers:
        with pytest.raises(InputError) as refused:
            await workers.run(sum, range(10**12))
        assert refused.value.reason == "TOO_MUCH_TIME"
        assert await workers.run(operator.add, 1, 1) == 2


async def test_a_decoder_that_crashes_is_the_callers_fault():
    async with WorkerProcesses(1) as workers:
        with pytest.raises(InputError) as refused:
            await workers.run(signal.raise_signal, signal.SIGSEGV)
        assert refused.value.reason == "DECODER_CRASHED"
        assert await workers.run(operator.add, 1, 1) == 2


async def test_a_worker_that_does_not_answer_is_ended():
    async with WorkerProcesses(1, WorkerLimits(wall_s=1.5)) as workers:
        with pytest.raises(WorkerLostError):
            await workers.run(time.sleep, 3600)
        assert await workers.run(operator.add, 1, 1) == 2


async def test_a_worker_that_is_killed_fails_its_own_job_alone():
    async with WorkerProcesses(2) as workers:
        victim = await workers.run(os.getpid)
        other = next(pid for pid in workers.pids if pid != victim)
        doomed, spared = (asyncio.create_task(workers.run(time.sleep, 0.5)) for _ in range(2))
        await asyncio.sleep(0)  # both have their worker, the last that was free the first of them
        os.kill(victim, signal.SIGKILL)
        with pytest.raises(WorkerLostError, match="send the slice again"):
            await doomed
        assert await spared is None
        assert other in workers.pids


async def test_a_worker_that_died_is_replaced():
    async with WorkerProcesses(1) as workers:
        (former,) = workers.pids
        os.kill(former, signal.SIGKILL)
        while workers.pids in ([former], []):
            await asyncio.sleep(0.01)
        assert workers.missing == 0
        assert await workers.run(os.getpid) == workers.pids[0] != former


async def test_a_worker_is_replaced_though_the_process_that_forks_it_is_lost_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with WorkerProcesses(1) as workers:
        (former,) = workers.pids
        read_signed, lost = forkserver.read_signed, iter([EOFError("unexpected EOF")])

        def read(descriptor: int) -> int:
            for error in lost:
                raise error
            return read_signed(descriptor)

        monkeypatch.setattr(forkserver, "read_signed", read)
        os.kill(former, signal.SIGKILL)
        while workers.pids in ([former], []):
            await asyncio.sleep(0.01)
        assert await workers.run(os.getpid) == workers.pids[0] != former


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_for_the_server_does_not_end_a_worker(number):
    async with WorkerProcesses(1) as workers:
        (pid,) = workers.pids
        await workers.run(os.getpid)
        os.kill(pid, number)
        assert await workers.run(os.getpid) == pid


async def test_a_caller_that_leaves_does_not_get_in_the_way_of_the_next():
    async with WorkerProcesses(1) as workers:
        leaver = asyncio.create_task(workers.run(time.sleep, 0.1))
        await asyncio.sleep(0)
        leaver.cancel()
        assert await workers.run(operator.add, 2, 3) == 5


async def test_a_caller_that_leaves_the_queue_costs_no_worker_any_time():
    async with WorkerProcesses(1, WorkerLimits(wall_s=3600)) as workers:
        first = asyncio.create_task(workers.run(time.sleep, 0.1))
        await asyncio.sleep(0)
        second = asyncio.create_task(workers.run(time.sleep, 3600))
        await asyncio.sleep(0)
        second.cancel()
        await first
        assert await workers.run(operator.add, 2, 3) == 5


async def test_no_worker_outlives_the_block():
    async with WorkerProcesses(2) as workers:
        pids = workers.pids
        busy = asyncio.create_task(workers.run(time.sleep, 0.05))
        await asyncio.sleep(0)
    with pytest.raises(WorkerLostError):
        await busy
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
