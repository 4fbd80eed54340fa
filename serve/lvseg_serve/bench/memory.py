"""What memory an engine costs, measured in a process of its own: resident memory is a whole process's.

``python -m lvseg_serve.bench.memory`` is that process: what to load comes as JSON on standard input.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

import numpy as np

from lvseg.errors import EngineError
from lvseg_serve.bench.sources import Source, find_source
from lvseg_serve.processes import own_kib

_TIMEOUT_S = 600


def memory_mib(source: Source, shape: Sequence[int], threads: int) -> float:
    """Return by how much loading an engine and running one batch raise a process's peak of resident memory.

    In MiB, the runtime's library included, without Python, numpy and the batch itself.

    Args:
        source: The engine.
        shape: Of the batch, (N, 1, H, W).
        threads: CPU threads for one run.

    Raises:
        EngineError: If the process fails, or the system does not tell its processes' peak.
    """
    order = json.dumps({"source": source.words, "shape": list(shape), "threads": threads})
    command = [sys.executable, "-P", "-m", __name__]
    try:
        done = subprocess.run(  # noqa: S603 - this module in this interpreter
            command, input=order, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(f"its memory was not known after {_TIMEOUT_S} s") from error
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise EngineError(f"its memory could not be measured: {said[-1]}")
    return float(json.loads(done.stdout.splitlines()[-1])["mib"])


def main() -> None:
    """Do what the order on standard input says."""
    order = json.load(sys.stdin)
    source = find_source(order["source"])
    pixels = np.ones(order["shape"], np.float32)
    before = _kib("VmRSS")
    source.load(order["threads"]).run(pixels)
    # Not getrusage's ru_maxrss: a new process inherits in it what the process that started it needed.
    print(json.dumps({"mib": (_kib("VmHWM") - before) / 1024}))  # noqa: T201


def _kib(name: str) -> int:
    found = own_kib(name)
    if found is None:
        raise EngineError(f"/proc/self/status tells no {name}: leave out --memory")
    return found


if __name__ == "__main__":
    main()
