"""What this machine's processor is, and which of its instructions matter to an engine."""

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


def model() -> str:
    """Return the processor's name."""
    return _field("model name") or platform.processor() or platform.machine()


def features() -> tuple[str, ...]:
    """Return which of the instructions that engines use the processor has: none where the system does not tell."""
    flags = _field("flags").split()
    return tuple(feature for feature in _FEATURES if feature in flags)


def usable() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def runs_at_once(threads: int) -> int:
    """Return how many runs of so many threads have a processor for each thread; one at least."""
    return max(1, usable() // threads)


def _field(wanted: str) -> str:
    for line in _CPUINFO.read_text().splitlines() if _CPUINFO.exists() else ():
        name, _, value = line.partition(":")
        if name.strip() == wanted:
            return value.strip()
    return ""
