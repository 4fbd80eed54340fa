"""Worker processes as the event loop sees them: give one a job, await its answer, replace it when it dies."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from tempfile import gettempdir
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple

from lvseg.errors import InputError, LvsegError, ServerError, WorkerLostError
from lvseg_export import cpu
from lvseg_serve.workers.exchange import Exchange
from lvseg_serve.workers.limits import DEFAULT_LIMITS, WorkerLimits
from lvseg_serve.workers.worker import Failed, work

_SHARED_BYTES = 4 * 2**30
"""Room for the largest message and the largest slice; address space alone, until somebody writes there."""
_PRELOADED = ["lvseg_serve.stages", "lvseg_serve.workers.worker", "libjpeg", "openjpeg"]
"""Imported once, by the process that the workers are forks of: one that died is replaced within milliseconds."""
_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
_PAUSE_S = 1.0
_LONGEST_END_S = 5.0

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


def default_count() -> int:
    """Return one for each processor that this process may use, and two at least: one file shall not hold up all."""
    return max(2, cpu.usable())


class WorkerProcesses:
    """Workers, each with one job at a time, for an ``async with`` block; a :class:`~lvseg_serve.workers.runner.Runner`.

    They are forks of a process that was started afresh for them, so they share neither threads nor locks with gRPC.

    Args:
        count: How many; by default :func:`default_count`.
        limits: What one job may cost.
    """

    def __init__(self, count: int | None = None, limits: WorkerLimits = DEFAULT_LIMITS) -> None:
        self._count = count or default_count()
        self._limits = limits
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)
        self._idle: asyncio.LifoQueue[_Worker] = asyncio.LifoQueue()  # the last one's caches are warm
        self._workers: set[_Worker] = set()
        self._replacing: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def pids(self) -> list[int]:
        """Of the workers that are alive."""
        return [worker.pid for worker in self._workers]

    @property
    def alive(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def missing(self) -> int:
        """How many workers there are too few of."""
        return self._count - len(self._workers)

    async def run(self, function: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """Call a function of a module in the next worker that is free.

        A caller that gives up before there is one costs no worker any time.

        Raises:
            LvsegError: What the function raises; anything else becomes a ``WorkerError``.
            InputError: ``TOO_MUCH_MEMORY``, ``TOO_MUCH_TIME`` or ``DECODER_CRASHED``, if the slice is to blame.
            WorkerLostError: If the worker was killed; the same slice may be sent again.
        """
        worker = await self._idle.get()
        try:
            answer = worker.begin((function, arguments))
        except BaseException:  # nothing of the job was sent: the worker is as idle as it was
            self._idle.put_nowait(worker)
            raise
        answer.add_done_callback(lambda done: self._free(worker, done))
        result: _Result = await asyncio.shield(answer)  # the worker goes on when its caller leaves
        return result

    async def __aenter__(self) -> Self:
        try:
            await asyncio.gather(*(self._add() for _ in range(self._count)))
        except BaseException as error:
            await self.close()
            if isinstance(error, OSError | EOFError):
                raise ServerError(
                    f"worker processes cannot be started ({error}); {gettempdir()}, for temporary files, has "
                    "to be one that can be written to, with a path of at most 70 bytes: set TMPDIR"
                ) from error
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End all workers; what they are at is dropped."""
        self._closed = True
        for task in self._replacing:
            task.cancel()
        await asyncio.gather(*self._replacing, return_exceptions=True)
        workers, self._workers = self._workers, set()
        await asyncio.gather(*(worker.end() for worker in workers))

    async def _add(self) -> None:
        worker = await asyncio.to_thread(_Worker, self._context, self._limits)
        if self._closed:
            await worker.end()
            return
        worker.listen(self._lost)
        self._workers.add(worker)
        self._idle.put_nowait(worker)

    def _free(self, worker: "_Worker", answer: asyncio.Future[Any]) -> None:
        answer.exception()  # its caller may have left, and nobody else need hear of it
        if worker in self._workers:
            self._idle.put_nowait(worker)

    def _lost(self, worker: "_Worker") -> None:
        if worker not in self._workers:
            return
        self._workers.discard(worker)
        self._drop_idle(worker)
        task = asyncio.get_running_loop().create_task(self._replace(worker))
        self._replacing.add(task)
        task.add_done_callback(self._replacing.discard)

    def _drop_idle(self, lost: "_Worker") -> None:
        idle = [self._idle.get_nowait() for _ in range(self._idle.qsize())]
        for worker in reversed(idle):
            if worker is not lost:
                self._idle.put_nowait(worker)

    async def _replace(self, worker: "_Worker") -> None:
        await worker.end()
        while True:
            try:
                return await self._add()
            except (OSError, EOFError):  # no process or memory to be had, or the one that forks was killed
                await asyncio.sleep(_PAUSE_S)


class _Worker:
    """One process, from this side. Everything but the constructor is for the event loop's thread."""

    def __init__(self, context: Any, limits: WorkerLimits) -> None:
        self._limits = limits
        self._answer: asyncio.Future[Any] | None = None
        self._timeout: asyncio.TimerHandle | None = None
        ours, theirs = context.Pipe()
        memory = os.memfd_create("lvseg-slices")
        try:
            os.ftruncate(memory, _SHARED_BYTES)
            self._exchange = Exchange(ours, memory)
            self._process: ForkServerProcess = context.Process(
                target=work, args=(theirs, DupFd(memory), limits), daemon=True
            )
            self._process.start()
        finally:
            os.close(memory)
            theirs.close()

    @property
    def pid(self) -> int:
        return self._process.pid or 0

    def listen(self, lost: Callable[["_Worker"], None]) -> None:
        """Begin to take answers; ``lost`` is called once when the process ends by itself."""
        self._on_lost = lost
        asyncio.get_running_loop().add_reader(self._exchange.fileno(), self._read)

    def begin(self, job: Any) -> asyncio.Future[Any]:
        """Send a job; the future is done when the worker is free again.

        Raises:
            Exception: If the job cannot be sent, such as one without room in the shared memory.
        """
        loop = asyncio.get_running_loop()
        try:
            self._exchange.send(job, first=True)
        except OSError:
            loop.call_soon(self._lose)
        self._answer = loop.create_future()
        self._timeout = loop.call_later(self._limits.wall_s, self._process.kill)
        return self._answer

    async def end(self) -> None:
        """Close the connection, at which the process ends, wait until it has, and fail the job that it was at."""
        asyncio.get_running_loop().remove_reader(self._exchange.fileno())
        self._exchange.close()
        await asyncio.to_thread(self._process.join, _LONGEST_END_S)
        if self._process.exitcode is None:
            self._process.kill()
            await asyncio.to_thread(self._process.join)
        self._settle(Failed(_why(self._process.exitcode)))
        self._process.close()

    def _read(self) -> None:
        try:
            answer = self._exchange.receive(copy=True)
        except (EOFError, OSError):
            self._lose()
            return
        self._exchange.release()
        self._settle(answer)

    def _lose(self) -> None:
        asyncio.get_running_loop().remove_reader(self._exchange.fileno())
        self._on_lost(self)  # which ends it

    def _settle(self, answer: Any) -> None:
        waiting, self._answer = self._answer, None
        if self._timeout is not None:
            self._timeout.cancel()
        if waiting is None:
            return
        if isinstance(answer, Failed):
            waiting.set_exception(answer.error)
        else:
            waiting.set_result(answer)


def _why(exitcode: int | None) -> LvsegError:
    """Return the error of a process that ended while it was at a slice."""
    number = -exitcode if exitcode is not None and exitcode < 0 else 0
    if number == signal.SIGXCPU:
        return InputError(
            "reading the slice takes more time than is allowed; store it uncompressed, one frame a file",
            reason="TOO_MUCH_TIME",
            expected="a slice that can be read within seconds",
        )
    if number in _CRASHES:
        return InputError(
            "the decoder crashed on the slice; store it again, uncompressed",
            reason="DECODER_CRASHED",
            field="PixelData",
            expected="pixel data that can be decoded",
        )
    return WorkerLostError("the worker that was at the slice was killed; send the slice again")
