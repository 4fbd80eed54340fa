"""Compare slices/s of lvseg's training with those of a plain PyTorch loop, in turn in one run.

OMP_NUM_THREADS=1 python benchmarks/training_speed.py [--recipe NAME] [--slices N] [--rounds N]

Both train the same network on the same windows, batch by batch, with the recipe's loss, solver and policy. lvseg's
epochs are timed as metrics.csv has them, so with all that happens beside the steps: moving average, metrics,
TensorBoard, display, checkpoint. Validation is left out, for the plain loop has none.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

import click
import torch
from torch.utils.data import DataLoader

from lvseg.data.dataset import EpochSampler, TrainingWindows
from lvseg.data.labelled import LabelledImage
from lvseg.data.phantom import write_phantoms
from lvseg.data.split import Split
from lvseg.models import build_model
from lvseg.train.callbacks import read_metrics
from lvseg.train.loss import new_loss
from lvseg.train.options import RunRecord, TrainOptions
from lvseg.train.recipes import RECIPES, find_recipe
from lvseg.train.run import METRICS
from lvseg.train.solver import new_policy, new_solver
from lvseg.train.training import fit, load_images, start_run

EPOCHS = 4  # the first is for warming up, the last is validated


@click.command()
@click.option("--recipe", type=click.Choice(list(RECIPES)), default="scratch-fcn8s", show_default=True)
@click.option("--slices", type=click.IntRange(1), default=64, show_default=True, help="Windows an epoch.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--workers", type=click.IntRange(0), default=0, show_default=True)
def main(recipe: str, slices: int, rounds: int, workers: int) -> None:
    """Print the slices/s of both, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "phantom"
        write_phantoms(data, patients=2, seed=1)
        options = TrainOptions.following(
            find_recipe(recipe),
            images=str(data),
            contours=str(data),
            epochs=EPOCHS,
            validation_interval=EPOCHS,
            workers=workers,
        )
        images = load_images(options)
        kept = images[-1:]
        others = [image for image in images if image.patient != kept[0].patient]
        split = Split(list(islice(cycle(others), slices)), kept)
        ours: list[float] = []
        plain: list[float] = []
        for number in range(rounds):
            run = Path(folder) / f"run-{number}"
            record = start_run(run, options, split)
            fit(run, record, split)
            ours += _epochs_of(run)
            plain += _plain_loop(record, split.training)
        shown = torch.get_num_threads(), options.batch_size, workers
        print("{} thread(s), batch {}, {} loading process(es)".format(*shown))  # noqa: T201
        for name, seconds in (("lvseg", ours), ("plain loop", plain)):
            usual = statistics.median(seconds)
            print(  # noqa: T201
                f"{name:10}  {slices / usual:.3f} slices/s, median of {len(seconds)} epochs of {slices}, "
                f"{slices / max(seconds):.3f} to {slices / min(seconds):.3f}"
            )
        ratios = [one / other for one, other in zip(plain, ours, strict=True)]
        print(f"ratio       {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")  # noqa: T201


def _epochs_of(run: Path) -> list[float]:
    """Return the seconds of the epochs between the first and the last."""
    return [float(row["seconds"]) for row in read_metrics(run / METRICS)[1:-1]]


def _plain_loop(record: RunRecord, images: Sequence[LabelledImage]) -> list[float]:
    options = record.options
    windows = TrainingWindows(
        images,
        working_spacing_mm=record.working_spacing_mm,
        network=options.network,
        augmentation=options.augmentation,
        seed=options.seed,
    )
    sampler = EpochSampler(len(windows), seed=options.seed)
    loader = DataLoader(
        windows,
        options.batch_size,
        sampler=sampler,
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = build_model(options.model, options.network).network
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    solver = new_solver(network.parameters(), options)
    policy = new_policy(solver, options, steps=EPOCHS * len(loader))
    criterion = new_loss(options)
    torch.use_deterministic_algorithms(False)
    seconds = []
    for epoch in range(EPOCHS - 1):
        started = time.perf_counter()
        sampler.set_epoch(epoch)
        for planes, labels in loader:
            solver.zero_grad()
            logits = network(planes.to(device, memory_format=torch.channels_last))
            criterion(logits, labels.to(device)).backward()
            solver.step()
            policy.step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


if __name__ == "__main__":
    main()
