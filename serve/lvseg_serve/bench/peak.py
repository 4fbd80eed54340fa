"""What this machine's processor reaches in float32: the measure of how well an engine uses it.

``python -m lvseg_serve.bench.peak`` measures it and prints it, in 10⁹ operations a second.
"""

import os
import subprocess
import sys
import time

import numpy as np

from lvseg.errors import OperationError

_SIDE = 2048
_ROUNDS = 6
_TIMEOUT_S = 300
# numpy's BLAS takes its number of threads from the environment once, when it is loaded: hence a process.
_THREADS = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


def peak_gflop_per_s(threads: int) -> float:
    """Return the best rate of a float32 matrix multiplication by numpy, in 10⁹ operations a second.

    Args:
        threads: CPU threads that it may use.

    Raises:
        OperationError: If the process that measures it fails.
    """
    command = [sys.executable, "-P", "-m", __name__]
    environment = {**os.environ, **dict.fromkeys(_THREADS, str(threads))}
    try:
        done = subprocess.run(  # noqa: S603 - this module in this interpreter
            command, env=environment, capture_output=True, text=True, check=True, timeout=_TIMEOUT_S
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise OperationError(f"the processor's peak could not be measured: {error}") from error
    return float(done.stdout)


def main() -> None:
    """Measure, and print the best of several rounds."""
    matrix = np.random.default_rng(0).random((_SIDE, _SIDE), dtype=np.float32)
    product = np.empty_like(matrix)
    seconds = []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        np.matmul(matrix, matrix, out=product)
        seconds.append(time.perf_counter() - started)
    print(2 * _SIDE**3 / min(seconds) / 1e9)  # noqa: T201


if __name__ == "__main__":
    main()
