"""One training from its start, or from where it was left, to its report."""

from dataclasses import dataclass
from pathlib import Path

import click

from lvseg.data.split import Split
from lvseg.data.sunnybrook import LabelledImage
from lvseg.evaluation import Evaluation, evaluate
from lvseg.train.options import OPTIONS_FILE, RunRecord, TrainOptions
from lvseg.train.predict import predict_mask
from lvseg.train.processes import only_first
from lvseg.train.report import write_report
from lvseg.train.run import TrainedRun
from lvseg.train.training import check_same_slices, fit, start_run


@dataclass(frozen=True)
class Outcome:
    """What a training came to."""

    run: TrainedRun
    evaluation: Evaluation
    """On the validation slices."""


def train_or_go_on(folder: Path, options: TrainOptions, data: Split[LabelledImage]) -> Outcome:
    """Train in a folder, from its last checkpoint where it is a run already, and report.

    Raises:
        LvsegError: As :func:`lvseg.train.training.fit` does, or if the run began with other data.
    """
    record = only_first(lambda: _record(folder, options, data))
    slices = (
        f"{len(data.training)} training and {len(data.validation)} validation slices"
        if data.disjoint
        else f"{len(data.training)} slices, all trained on and judged"
    )
    click.echo(
        f"{record.options.model} by {record.options.recipe}: {slices}, working pixel spacing "
        f"{record.working_spacing_mm} mm"
    )
    run = fit(folder, record, data)
    evaluation = only_first(lambda: _reported(run, data))
    scores = evaluation.scores("honest")
    apd = "none found" if scores.apd_mm is None else f"{scores.apd_mm:.2f} mm"
    click.echo(
        f"best epoch {run.epoch}: Dice {scores.dice:.4f}, APD {apd}, good contours {scores.good_percent:.0f}% "
        f"on {scores.contours} whole slices"
    )
    return Outcome(run, evaluation)


def _record(folder: Path, options: TrainOptions, data: Split[LabelledImage]) -> RunRecord:
    if not (folder / OPTIONS_FILE).is_file():
        return start_run(folder, options, data)
    record = RunRecord.read(folder)
    check_same_slices(record, data)
    return record


def _reported(run: TrainedRun, data: Split[LabelledImage]) -> Evaluation:
    spacing_mm = run.record.working_spacing_mm
    evaluation = evaluate(lambda image: predict_mask(run.model, image.slice, spacing_mm), data.validation)
    write_report(run, evaluation)
    return evaluation
