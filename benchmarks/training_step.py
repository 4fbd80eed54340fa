"""Time a training step of the default FCN-8s with one thread and with two, in turn in one run.

python benchmarks/training_step.py
"""

import statistics
import time

import torch

from lvseg.models import build_model
from lvseg.train.recipes import DEFAULT_RECIPES

STEPS = 8


def main() -> None:
    """Print the median seconds a step for each number of threads, after one step that does not count."""
    recipe = DEFAULT_RECIPES["fcn-8s"]
    side = recipe.augmentation.window or 256
    windows = torch.rand(recipe.batch_size, recipe.network.input_channels, side, side)
    network = build_model(recipe.model, recipe.network).network
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(STEPS + 1):
        for threads, times in seconds.items():
            torch.set_num_threads(threads)
            started = time.perf_counter()
            network(windows).mean().backward()
            times.append(time.perf_counter() - started)
    for threads, times in seconds.items():
        print(f"{threads} thread(s): {statistics.median(times[1:]):.2f} s a step")  # noqa: T201


if __name__ == "__main__":
    main()
