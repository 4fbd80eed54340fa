"""What a worker may use at most."""

import math
import resource
import time
from dataclasses import dataclass

from lvseg_serve.processes import own_kib


@dataclass(frozen=True, kw_only=True)
class WorkerLimits:
    """What one slice may cost in a worker; a file that costs more is refused."""

    memory_bytes: int = 512 * 2**20
    """Beyond what the process has when it starts. The largest slice that is accepted takes some 200 MiB."""
    cpu_s: int = 10
    """Seconds of processor time; the slowest ordinary slice takes a tenth of one."""
    wall_s: float = 60.0
    """Seconds until an answer is no longer waited for, on however busy a machine."""


DEFAULT_LIMITS = WorkerLimits()


def limit_memory(memory_bytes: int) -> None:
    """Let this process allocate so many bytes more than it has; then allocation fails (``RLIMIT_DATA``)."""
    kib = own_kib("VmData")
    if kib is None:
        raise OSError("/proc/self/status names no VmData; expected Linux")
    limit = kib * 1024 + memory_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def limit_cpu(seconds: int) -> None:
    """Let this process use so many seconds of processor time from now on; then it is ended by SIGXCPU."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + seconds, hard))


def leave_no_core() -> None:
    """Let no dump of this process's memory, with a patient's slice in it, be written when it crashes."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
