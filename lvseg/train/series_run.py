"""A series of trainings from its start, or from where it was left, to what came of all of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from lvseg.data.sunnybrook import LabelledImage
from lvseg.evaluation import Evaluation
from lvseg.evaluation.console import print_evaluation
from lvseg.evaluation.folder import write_evaluation
from lvseg.train.once import Outcome, train_or_go_on
from lvseg.train.processes import only_first
from lvseg.train.series import Series
from lvseg.train.training import split_images


def run_series(folder: Path, series: Series, images: Sequence[LabelledImage]) -> None:
    """Train what is not trained yet, each in a folder of its own, then write and print what came out.

    Raises:
        LvsegError: As one training does. The trainings that are done stay, and ``--resume`` goes on.
    """
    outcomes = {}
    for number, (name, options) in enumerate(series.runs.items(), start=1):
        click.echo(f"{name} ({number} of {len(series.runs)})")
        outcomes[name] = train_or_go_on(folder / name, options, split_images(images, options))
    console = Console()
    if series.kind == "cross-validation":
        pooled = Evaluation.of(
            result for outcome in outcomes.values() for result in outcome.evaluation.results
        )
        folders = {"cross_validation": {name: str(folder / name) for name in outcomes}}
        only_first(lambda: write_evaluation(pooled, folder, folders))
        print_evaluation(pooled, console)
    else:
        console.print(_sweep_table(outcomes))


def _sweep_table(outcomes: Mapping[str, Outcome]) -> Table:
    table = Table("training", "best epoch", "Dice", "APD, mm", "good, %", box=box.SIMPLE, pad_edge=False)
    for name, outcome in outcomes.items():
        scores = outcome.evaluation.scores("honest")
        apd = "-" if scores.apd_mm is None else f"{scores.apd_mm:.2f}"
        table.add_row(name, str(outcome.run.epoch), f"{scores.dice:.4f}", apd, f"{scores.good_percent:.0f}")
    return table
