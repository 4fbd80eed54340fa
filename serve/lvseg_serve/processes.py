"""What Linux tells of processes: who is below whom, and what memory they have."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")


def descendants(pid: int) -> Iterator[int]:
    """Yield all processes below one, of whichever of its threads; without those that end meanwhile."""
    for listed in (_PROC / str(pid) / "task").glob("*/children"):
        try:
            children = listed.read_text().split()
        except OSError:  # the thread is gone
            continue
        for child in map(int, children):
            yield child
            yield from descendants(child)


def resident_bytes(pid: int) -> int:
    """Return a process's resident memory, pages that it shares included; 0 when it is gone."""
    try:
        pages = int((_PROC / str(pid) / "statm").read_text().split()[1])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def own_kib(name: str) -> int | None:
    """Return a line of this process's ``/proc/self/status``, such as ``VmData``, in KiB; ``None`` without it."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", (_PROC / "self/status").read_text(), re.MULTILINE)
    return None if found is None else int(found[1])
