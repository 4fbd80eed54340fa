"""Several trainings in one folder: one for each patient left out, or for each rate and batch size."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

import click
from rich import box
from rich.console import Console
from rich.table import Table

from lvseg.data.sunnybrook import LabelledImage
from lvseg.errors import OptionError, RunError
from lvseg.evaluation import Evaluation
from lvseg.evaluation.console import print_evaluation
from lvseg.evaluation.folder import write_evaluation
from lvseg.train.once import Outcome, train_or_go_on
from lvseg.train.options import TrainOptions
from lvseg.train.processes import only_first
from lvseg.train.training import split_images
from lvseg.whole_files import whole_file

SERIES_FILE = "series.json"

Kind = Literal["cross-validation", "sweep"]


@dataclass(frozen=True)
class Series:
    """The trainings of a folder, each with its options in a folder of its own."""

    kind: Kind
    runs: Mapping[str, TrainOptions]

    def write(self, folder: Path) -> None:
        """Write ``series.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / SERIES_FILE) as stream:
            stream.write((json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "Series":
        """Read ``series.json``.

        Raises:
            RunError: If it is not that of a series of this version of lvseg.
        """
        path = folder / SERIES_FILE
        try:
            values = json.loads(path.read_bytes())
            return cls(
                values["kind"], {name: TrainOptions.parse(run) for name, run in values["runs"].items()}
            )
        except (ValueError, KeyError, TypeError, AttributeError, OptionError) as error:
            raise RunError(
                f"{path} is not the series of this lvseg ({error}); start it again", reason="MALFORMED_RUN"
            ) from error


def sweep(options: TrainOptions, rates: Sequence[float], batch_sizes: Sequence[int]) -> Series:
    """Return a training for each rate with each batch size."""
    runs = {
        f"rate-{rate:g}-batch-{size}": dataclasses.replace(options, learning_rate=rate, batch_size=size)
        for rate, size in product(rates, batch_sizes)
    }
    return Series("sweep", runs)


def leave_one_out(options: TrainOptions, patients: Sequence[str]) -> Series:
    """Return a training for each patient, validated on that patient and at its end alone.

    So nothing of the patient left out decides anything, not even which epoch's weights are kept.

    Raises:
        OptionError: If there is one patient alone.
    """
    if len(patients) < 2:
        raise OptionError(
            f"--cross-validate needs two patients at least, found {len(patients)}",
            reason="INVALID_OPTION",
            field="--cross-validate",
        )
    runs = {
        patient: dataclasses.replace(
            options,
            validate=(patient,),
            validation_percent=None,
            leave_none_out=False,
            validation_interval=options.epochs,
            early_stopping=None,
        )
        for patient in patients
    }
    return Series("cross-validation", runs)


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
