"""A server's processes: started, watched and ended, with all that they start themselves. Needs Linux's ``/proc``."""

import os
import re
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOP_S = 15
_LAST_LINES = 3


class _Stat(NamedTuple):
    """What ``/proc`` says of a process."""

    parent: int
    session: int
    cpu_ticks: int
    """User and system, with the children that it has waited for."""


class ServerProcess:
    """A server that runs in a session of its own.

    Its processes are its descendants, and those whose session one of them began: some servers let their workers
    begin sessions, and workers outlive servers that are killed.

    Args:
        command: What to start.
        environment: All of its environment variables.
        log: File for what it prints.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        self._log = log
        with log.open("wb") as stream:
            self._process = subprocess.Popen(  # noqa: S603 - the servers of this benchmark
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._sessions = {self._process.pid}

    @property
    def running(self) -> bool:
        """Whether its first process is there."""
        return self._process.poll() is None

    def last_words(self) -> str:
        """Return the end of what it printed, in one line."""
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines[-_LAST_LINES:])[-400:]

    def cpu_s(self) -> float:
        """Return the processor time that all its processes took so far, user and system."""
        return sum(stat.cpu_ticks for stat in self._members().values()) / _TICKS_PER_S

    def memory_mib(self) -> tuple[float, float]:
        """Return the sum of its processes' peaks of resident memory, and of what is resident now.

        What processes share counts once for each of them in the first, once in all in the second (PSS).
        """
        peak = resident = 0
        for process in self._members():
            folder = Path("/proc", str(process))
            with suppress(OSError):  # it ended meanwhile
                peak += _kib(folder / "status", "VmHWM")
                resident += _kib(folder / "smaps_rollup", "Pss")
        return peak / 1024, resident / 1024

    def stop(self) -> None:
        """Ask it to end; kill what has not ended after 15 s."""
        self._members()
        if self.running:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        for process in self._members():
            _kill(process)
        self._process.wait()

    def _members(self) -> dict[int, _Stat]:
        every = dict(_processes())
        members: dict[int, _Stat] = {}
        while found := {
            process: stat
            for process, stat in every.items()
            if process not in members and (stat.session in self._sessions or stat.parent in members)
        }:
            members |= found
            self._sessions |= {stat.session for stat in found.values()}
        return members


def _processes() -> Iterator[tuple[int, _Stat]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:  # it ended meanwhile
            continue
        _, parent, _, session, *more = text.rpartition(")")[2].split()
        yield int(folder.name), _Stat(int(parent), int(session), sum(map(int, more[7:11])))


def _kill(process: int) -> None:
    try:
        handle = os.pidfd_open(process)
    except ProcessLookupError:
        return
    try:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(handle, signal.SIGKILL)
        select.select([handle], [], [])  # until it has ended
    finally:
        os.close(handle)


def _kib(path: Path, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", path.read_text(), re.MULTILINE)
    return int(found[1]) if found else 0
