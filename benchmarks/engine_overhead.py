"""How much an engine of lvseg adds to its runtime's own call, in turn in one run.

python benchmarks/engine_overhead.py BUNDLE [--engine onnxruntime|openvino] [--precision P] [--side N] [--batch N]

Both calls run the same loaded session on the same pixels; which of them comes first changes from round to round.
What the engine adds is the check of the batch, the translation of errors and, on OpenVINO, the way of a request out of
its queue and back, and copies of the results.
"""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from lvseg_export.bundle import load_bundle
from lvseg_export.choice import load_engine
from lvseg_export.engines.base import Engine

Pixels = NDArray[np.float32]

WARM_UP = 5


def _onnxruntime(engine: Engine, pixels: Pixels) -> Callable[[], object]:
    session = engine._session  # type: ignore[attr-defined]
    return lambda: session.run(None, {"pixels": pixels})


def _openvino(engine: Engine, pixels: Pixels) -> Callable[[], object]:
    requests = engine._requests  # type: ignore[attr-defined]
    request = requests.get()
    requests.put(request)  # for the engine, which runs while this one does not
    return lambda: request.infer([pixels], share_inputs=True)


# The engines' own sessions, so that nothing but lvseg's code is between the two.
BARE: dict[str, Callable[[Engine, Pixels], Callable[[], object]]] = {
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}


@click.command()
@click.argument("bundle", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--engine", "runtime", type=click.Choice(list(BARE)), default="onnxruntime", show_default=True)
@click.option("--precision", default="fp32", show_default=True)
@click.option("--threads", type=click.IntRange(1))
@click.option(
    "--side", type=click.IntRange(32), default=256, show_default=True, help="Rows, and columns, of a slice."
)
@click.option("--batch", type=click.IntRange(1), default=1, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=200, show_default=True)
def main(
    bundle: Path, runtime: str, precision: str, threads: int | None, side: int, batch: int, rounds: int
) -> None:
    """Print the median time of both and the median of their ratio, round by round."""
    engine = load_engine(load_bundle(bundle), runtime, precision, threads=threads)
    pixels = np.random.default_rng(0).random((batch, 1, side, side), dtype=np.float32)
    calls: dict[str, Callable[[], object]] = {
        "engine": lambda: engine.run(pixels),
        "runtime": BARE[runtime](engine, pixels),
    }
    milliseconds: dict[str, list[float]] = {name: [] for name in calls}
    for index in range(-WARM_UP, rounds):
        for name in sorted(calls, reverse=index % 2 == 0):
            needed = _time_ms(calls[name])
            if index >= 0:
                milliseconds[name].append(needed)
    ratios = [ours / bare for ours, bare in zip(*milliseconds.values(), strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4) if rounds > 1 else (*ratios, *ratios, *ratios)
    shape = f"{batch} slice(s) of {side} x {side}, {engine.threads} thread(s), {rounds} rounds"
    print(f"{engine.name} {engine.precision}, {shape}")  # noqa: T201
    for name, times in milliseconds.items():
        print(f"{name}: median {statistics.median(times):.3f} ms")  # noqa: T201
    print(  # noqa: T201
        f"engine / runtime, round by round: median {statistics.median(ratios):.4f}, "
        f"middle half {low:.4f} to {high:.4f}"
    )


def _time_ms(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return (time.perf_counter() - started) * 1e3


if __name__ == "__main__":
    main()
