"""What each part of a recipe is worth: trainings that differ from it in one thing, judged on patients left out.

    python benchmarks/ablation.py --images DIR --contours DIR --out FOLDER --patient PATIENT... VARIANT...

Each is a run in a folder RECIPE/VARIANT/PATIENT, validated after its last epoch alone; one that is there is not
trained again. A VARIANT that does not exist is answered with those that do. Run it twice side by side, with other
patients, to use two cores.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.table import Table

from lvseg.cli import Command
from lvseg.evaluation import Evaluation
from lvseg.train.once import train_or_go_on
from lvseg.train.options import TrainOptions
from lvseg.train.recipes import RECIPES, find_recipe
from lvseg.train.training import load_images, split_images

Change = Callable[[TrainOptions], TrainOptions]


def _options(**changes: Any) -> Change:
    return lambda options: dataclasses.replace(options, **changes)


def _augmentation(**changes: float) -> Change:
    return lambda options: dataclasses.replace(
        options, augmentation=dataclasses.replace(options.augmentation, **changes)
    )


def _network(**changes: Any) -> Change:
    return lambda options: dataclasses.replace(
        options, network=dataclasses.replace(options.network, **changes)
    )


def _spacing(spacing_mm: float, window: int) -> Change:
    return lambda options: _augmentation(window=window)(
        dataclasses.replace(options, working_spacing_mm=spacing_mm)
    )


VARIANTS: Mapping[str, Change] = {
    "recipe": _options(),
    "seed-2": _options(seed=2),
    "seed-3": _options(seed=3),
    "no-each-dice": _options(loss="cross-entropy+dice"),
    "no-dice": _options(loss="cross-entropy"),
    "no-muscles": _augmentation(muscles_share=0.0),
    "no-other-cavities": _augmentation(cavity_share=0.0),
    "fewer-other-cavities": _augmentation(cavity_share=0.4, cavity_smallest=0.4),
    "no-grey-scales": _augmentation(gamma=1.0, curve=0.0, shading=0.0),
    "no-any-turn": _augmentation(any_turn_share=0.0),
    "no-averaging": _options(averaged_steps=0),
    "half-width": _network(width=0.5),
    "0.8-mm": _spacing(0.8, 192),
    "0.6-mm": _spacing(0.6, 256),
    "300-epochs": _options(epochs=300),
}


@click.command(cls=Command)
@click.argument("variants", nargs=-1, required=True, metavar="VARIANT...", type=click.Choice(list(VARIANTS)))
@click.option("--images", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--contours", type=click.Path(exists=True, file_okay=False, path_type=Path), required=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--recipe", type=click.Choice(list(RECIPES)), default="scratch-fcn8s", show_default=True)
@click.option("--patient", "patients", multiple=True, required=True, help="Left out; repeat it for more.")
@click.option("--epochs", type=click.IntRange(1), help="Of every training.  [default: the recipe's]")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
def main(
    variants: tuple[str, ...],
    images: Path,
    contours: Path,
    out: Path,
    recipe: str,
    patients: tuple[str, ...],
    epochs: int | None,
    threads: int,
) -> None:
    """Train each VARIANT without each patient, and print Dice, APD and good contours."""
    torch.set_num_threads(threads)
    base = TrainOptions.following(find_recipe(recipe), images=str(images), contours=str(contours))
    base = dataclasses.replace(base, epochs=epochs or base.epochs)
    labelled = load_images(base)
    table = Table("variant", "Dice", "APD, mm", "good, %", *patients)
    for variant in variants:
        evaluations = []
        for patient in patients:
            options = VARIANTS[variant](dataclasses.replace(base, validate=(patient,)))
            options = dataclasses.replace(options, validation_interval=options.epochs)
            outcome = train_or_go_on(
                out / recipe / variant / patient, options, split_images(labelled, options)
            )
            evaluations.append(outcome.evaluation)
        scores = Evaluation.of(result for one in evaluations for result in one.results).scores("honest")
        apd = "-" if scores.apd_mm is None else f"{scores.apd_mm:.2f}"
        each = [f"{one.scores('honest').dice or 0:.3f}" for one in evaluations]
        table.add_row(variant, f"{scores.dice or 0:.3f}", apd, f"{scores.good_percent:.0f}", *each)
    Console().print(table)


if __name__ == "__main__":
    main()
