"""What a worker process does: call functions one after the other, within limits, and send back what they give."""

import os
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from lvseg.errors import InputError, LvsegError, WorkerError
from lvseg_serve.workers.exchange import Exchange
from lvseg_serve.workers.limits import WorkerLimits, leave_no_core, limit_cpu, limit_memory

Job = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function, of a module, and its arguments."""


class SharedDescriptor(Protocol):
    """A file descriptor on its way to another process."""

    def detach(self) -> int:
        """Return it, in the other process."""
        ...


@dataclass(frozen=True)
class Failed:
    """What a function raised."""

    error: LvsegError


def work(connection: Connection, memory: SharedDescriptor, limits: WorkerLimits) -> None:
    """Answer jobs until the other end is closed."""
    # A signal to the whole group, as Ctrl-C sends it, is for the server, which lets us finish first.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    leave_no_core()
    _say_nothing()
    descriptor: int = memory.detach()
    exchange = Exchange(connection, descriptor)
    os.close(descriptor)
    limit_memory(limits.memory_bytes)
    while True:
        try:
            job: Job = exchange.receive(copy=False)
        except (EOFError, ConnectionResetError):
            return
        limit_cpu(limits.cpu_s)
        answer = _done(job)
        del job
        try:
            try:
                exchange.send(answer, first=False)
                continue
            except (
                MemoryError
            ):  # before a byte of it was sent; its traceback, which holds the answer, ends here
                answer = _too_much_memory()
            exchange.send(answer, first=False)
        except (BrokenPipeError, ConnectionResetError):
            return


def _say_nothing() -> None:
    """Let what libraries print or warn of go nowhere, as it may quote the file; what fails is in the answer."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _done(job: Job) -> Any:
    function, arguments = job
    try:
        return function(*arguments)
    except LvsegError as error:
        return Failed(error)
    except MemoryError:
        return _too_much_memory()
    except Exception as error:  # noqa: BLE001  nothing else stands between an error and the other process
        return Failed(WorkerError(f"a worker failed: {_where(error)}"))


def _too_much_memory() -> Failed:
    return Failed(
        InputError(
            "reading the slice takes more memory than is allowed; store it uncompressed, one frame a file",
            reason="TOO_MUCH_MEMORY",
            expected="a slice of the size that its header states",
        )
    )


def _where(error: Exception) -> str:
    """Return what was raised and where, without its text: that may be a patient's."""
    frames = traceback.extract_tb(error.__traceback__)
    calls = " > ".join(f"{frame.name} ({Path(frame.filename).name}:{frame.lineno})" for frame in frames)
    return f"{type(error).__name__} in {calls}"
