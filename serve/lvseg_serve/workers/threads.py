"""The same work in threads of this process, for callers who trust what they send: a command on its own files."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from lvseg_export import cpu

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


class WorkerThreads:
    """A :class:`~lvseg_serve.workers.runner.Runner` without processes, and so without their limits."""

    def __init__(self) -> None:
        self._count = cpu.usable()
        self._threads = ThreadPoolExecutor(self._count, thread_name_prefix="lvseg-worker")

    @property
    def alive(self) -> int:
        """How many threads there may be."""
        return self._count

    async def run(self, function: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """Call a function in the next thread that is free; a caller that gives up before leaves the queue."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    async def close(self) -> None:
        """Finish the work that has begun, drop the rest and end the threads."""
        await asyncio.to_thread(self._threads.shutdown, cancel_futures=True)
