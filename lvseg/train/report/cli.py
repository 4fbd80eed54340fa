"""The command lvseg-report."""

from pathlib import Path

import click
import torch

from lvseg.cli import Command
from lvseg.evaluation import evaluate
from lvseg.train.predict import predict_mask
from lvseg.train.report import write_report
from lvseg.train.report.page import REPORT
from lvseg.train.report.write import check_slice
from lvseg.train.run import load_run
from lvseg.train.training import check_same_slices, load_images, split_images


@click.command(cls=Command)
@click.argument("run", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--slice",
    "shown",
    metavar="NAME",
    help="Validation slice to follow through the network's layers, as validation.csv names it.  "
    "[default: the one with the ventricle of median area]",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: PyTorch's choice]")
def main(run: Path, shown: str | None, threads: int | None) -> None:
    """Write the report of a training anew: report.html, curves.png, validation.csv and overlays in RUN.

    lvseg-train does so when it ends. This is for another slice, and for a training that is still under way or was
    interrupted: what is reported then is its best epoch so far.

    \b
    Example:
      lvseg-report runs/a --slice SC-HF-I-5/0180
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if threads:
        torch.set_num_threads(threads)
    trained = load_run(run)
    record = trained.record
    if shown is not None:
        check_slice(shown, record.validation)
    data = split_images(load_images(record.options), record.options)
    check_same_slices(record, data)
    evaluation = evaluate(
        lambda image: predict_mask(trained.model, image.slice, record.working_spacing_mm), data.validation
    )
    write_report(trained, evaluation, shown=shown)
    click.echo(f"{run / REPORT}: epoch {trained.epoch}")
