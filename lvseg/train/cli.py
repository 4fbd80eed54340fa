"""The command lvseg-train."""

import dataclasses
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import click
import torch
from click.core import ParameterSource

from lvseg.cli import Command
from lvseg.data.augmentation import Augmentation
from lvseg.errors import OptionError
from lvseg.folders import check_free, remove_former
from lvseg.models import ARCHITECTURES, NetworkOptions
from lvseg.models.options import Norm, Padding, Upsampling
from lvseg.train.options import FROM_SCRATCH, OPTIONS_FILE, RunRecord, TrainOptions
from lvseg.train.report import write_report
from lvseg.train.training import check_same_slices, fit, load_split, start_run

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_NETWORK = tuple(field.name for field in dataclasses.fields(NetworkOptions))


def _default(option: str) -> str:
    """Return the default of an option of the networks, as --help shows it."""
    values = {model: getattr(options, option) for model, options in FROM_SCRATCH.items()}
    if len(set(values.values())) == 1:
        return f"  [default: {next(iter(values.values()))}]"
    return "  [default: " + ", ".join(f"{value} for {model}" for model, value in values.items()) + "]"


@click.command(cls=Command)
@click.option(
    "--images", type=_FOLDER, help="Folder with the DICOM files, searched with all below it. Required."
)
@click.option(
    "--contours",
    type=_FOLDER,
    help="Folder with the expert contours (*icontour-manual.txt), searched likewise. Required.",
)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to write. Required.")
@click.option(
    "--validate",
    multiple=True,
    metavar="PATIENT",
    help="Keep this patient for validation; repeat the option for more. This or --validation-percent is required.",
)
@click.option(
    "--validation-percent",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    help="Validate on a random share of the contours, whoever's they are: flatters.",
)
@click.option("--strict", is_flag=True, help="Refuse data of which any contour cannot be used.")
@click.option(
    "--model",
    type=click.Choice(list(ARCHITECTURES)),
    default=TrainOptions.model,
    show_default=True,
    help="The network.",
)
@click.option(
    "--width", type=float, help="Channels of its trunk, as a share of the published." + _default("width")
)
@click.option(
    "--fc-channels", type=int, help="Channels of fc6 and fc7; published: 4096." + _default("fc_channels")
)
@click.option(
    "--norm",
    type=click.Choice(get_args(Norm)),
    help="Normalisation layers; published: none." + _default("norm"),
)
@click.option(
    "--padding",
    type=click.Choice(get_args(Padding)),
    help="lab: 100 pixels around the slice, as published; same: none, a third of the work."
    + _default("padding"),
)
@click.option(
    "--upsampling",
    type=click.Choice(get_args(Upsampling)),
    help="Of the scores; published: fixed, bilinear." + _default("upsampling"),
)
@click.option("--dropout", type=float, help="In fc6 and fc7; published: 0.5." + _default("dropout"))
@click.option("--input-channels", type=int, help="3 repeats the slice." + _default("input_channels"))
@click.option(
    "--epochs",
    type=click.IntRange(1),
    default=TrainOptions.epochs,
    show_default=True,
    help="Times through the data.",
)
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    default=TrainOptions.batch_size,
    show_default=True,
    help="Windows a step.",
)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=TrainOptions.learning_rate,
    show_default=True,
    help="Peak of the one-cycle schedule.",
)
@click.option(
    "--weight-decay",
    type=click.FloatRange(0),
    default=TrainOptions.weight_decay,
    show_default=True,
    help="Of AdamW.",
)
@click.option(
    "--validation-interval",
    type=click.IntRange(1),
    default=TrainOptions.validation_interval,
    show_default=True,
    help="Epochs between validations; it has to divide --epochs.",
)
@click.option(
    "--window",
    type=click.IntRange(64),
    default=Augmentation().window,
    show_default=True,
    help="Side of the training windows, in pixels of the working grid.",
)
@click.option(
    "--working-spacing",
    "working_spacing_mm",
    type=click.FloatRange(0.2, 5),
    metavar="MM",
    help="Pixel spacing that the network sees.  [default: median of the training slices]",
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=TrainOptions.seed,
    show_default=True,
    help="Of weights, order and augmentation.",
)
@click.option(
    "--precision",
    type=click.Choice(["32-true", "bf16-mixed", "16-mixed"]),
    default=TrainOptions.precision,
    show_default=True,
    help="Arithmetic of the training.",
)
@click.option(
    "--workers",
    type=click.IntRange(0),
    default=TrainOptions.workers,
    show_default=True,
    help="Processes that prepare windows.",
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="CPU threads; with the same number a run repeats to the last digit.  [default: PyTorch's choice]",
)
@click.option("--overwrite", is_flag=True, help="Replace a former run in --out.")
@click.option(
    "--resume",
    type=_FOLDER,
    metavar="RUN",
    help="Go on with an interrupted run; its folder holds every other option.",
)
@click.pass_context
def main(
    context: click.Context,
    /,
    out: Path | None,
    overwrite: bool,
    resume: Path | None,
    threads: int | None,
    **options: Any,
) -> None:
    """Train a left-ventricle segmenter on slices with expert contours.

    Writes a run folder: options.json, checkpoints, metrics.csv, curves.png, validation.csv and
    overlays of the validation slices. Export it with lvseg-export.

    \b
    Examples:
      lvseg-train --images sunnybrook --contours sunnybrook --validate SC-HF-I-5 --out runs/a
      lvseg-train --resume runs/a
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if threads:
        torch.set_num_threads(threads)
    started = time.monotonic()
    if resume:
        _refuse_options_beside_resume(context)
        folder, record = resume, RunRecord.read(resume)
        data = load_split(record.options)
        check_same_slices(record, data)
    else:
        folder, chosen = _new_run(out, options)
        check_free(folder, signature=OPTIONS_FILE, overwrite=overwrite)
        data = load_split(chosen)
        remove_former(folder)
        record = start_run(folder, chosen, data)
    click.echo(
        f"{record.options.model}: {len(data.training)} training and {len(data.validation)} validation slices, "
        f"working pixel spacing {record.working_spacing_mm} mm"
    )
    run = fit(folder, record, data)
    scores = write_report(run, data.validation)
    apd = "none found" if scores.apd_mm is None else f"{scores.apd_mm:.2f} mm"
    click.echo(
        f"best epoch {run.epoch}: Dice {scores.dice:.4f}, APD {apd}, good contours {scores.good_percent:.0f}% "
        f"on {scores.slices} whole slices; {(time.monotonic() - started) / 60:.1f} min; written to {folder}"
    )


def _refuse_options_beside_resume(context: click.Context) -> None:
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if given and name not in {"resume", "threads"}:
            raise OptionError(
                f"--resume takes every option from the run; leave out {parameter.opts[0]}",
                reason="INVALID_OPTION",
                field="--resume",
            )


def _new_run(out: Path | None, options: Mapping[str, Any]) -> tuple[Path, TrainOptions]:
    values = dict(options)
    images, contours, window = (values.pop(name) for name in ("images", "contours", "window"))
    if out is None or images is None or contours is None:
        raise click.UsageError("--images, --contours and --out are required (or --resume RUN)")
    given = {name: value for name in _NETWORK if (value := values.pop(name)) is not None}
    try:
        network = dataclasses.replace(FROM_SCRATCH[values["model"]], **given)
    except ValueError as error:
        raise OptionError(str(error), reason="INVALID_OPTION", field="--model") from error
    return out, TrainOptions(
        images=str(images.resolve()),
        contours=str(contours.resolve()),
        network=network,
        augmentation=Augmentation(window=window),
        **values,
    )
