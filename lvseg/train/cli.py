"""The command lvseg-train."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import torch
from click.core import ParameterSource

from lvseg.cli import Command
from lvseg.data.augmentation import Augmentation
from lvseg.errors import OptionError
from lvseg.folders import check_free, remove_former
from lvseg.models import ARCHITECTURES, build_model
from lvseg.train.options import OPTIONS_FILE, RunRecord, TrainOptions
from lvseg.train.report import write_report
from lvseg.train.training import fit, load_split, start_run

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _model_options(
    _context: click.Context, _parameter: click.Parameter, pairs: tuple[str, ...]
) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        name, found, value = pair.partition("=")
        if not found:
            raise click.BadParameter(f"expected NAME=VALUE, got {pair!r}")
        options[name] = _literal(value)
    return options


def _literal(value: str) -> bool | int | float | str:
    if value in {"true", "false"}:
        return value == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value


@click.command(cls=Command)
@click.option("--images", type=_FOLDER, help="Folder with the DICOM files; searched with all below it.")
@click.option("--contours", type=_FOLDER, help="Folder with the expert contours (*icontour-manual.txt).")
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to write.")
@click.option("--model", type=click.Choice(list(ARCHITECTURES)), default="fcn-8s", show_default=True)
@click.option(
    "--model-option",
    "model_options",
    multiple=True,
    callback=_model_options,
    metavar="NAME=VALUE",
    help="Option of the network, such as width=1.0 or fc_channels=4096; may be given again.",
)
@click.option(
    "--validate",
    multiple=True,
    metavar="PATIENT",
    help="Keep this patient for validation; may be given again.",
)
@click.option(
    "--validation-percent",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    help="Instead: validate on a random share of the contours, whoever's they are.",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Refuse data with contours that match no image, rather than leave them out.",
)
@click.option("--epochs", type=click.IntRange(1), default=50, show_default=True)
@click.option("--batch-size", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    default=3e-3,
    show_default=True,
    help="Peak of the one-cycle schedule.",
)
@click.option("--weight-decay", type=click.FloatRange(0), default=1e-2, show_default=True)
@click.option(
    "--validation-interval",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Epochs between validations.",
)
@click.option(
    "--window",
    type=click.IntRange(32),
    default=128,
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
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option(
    "--precision",
    type=click.Choice(["32-true", "bf16-mixed", "16-mixed"]),
    default="32-true",
    show_default=True,
)
@click.option(
    "--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that prepare windows."
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads.  [default: PyTorch's choice]")
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
    Example:
      lvseg-train --images sunnybrook --contours sunnybrook --validate SC-HF-I-5 --out runs/a
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if threads:
        torch.set_num_threads(threads)
    started = time.monotonic()
    if resume:
        _refuse_options_beside_resume(context)
        folder, record = resume, RunRecord.read(resume)
        data = load_split(record.options)
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
    summary = write_report(run, data.validation)
    apd = "none found" if summary.apd_mm is None else f"{summary.apd_mm:.2f} mm"
    click.echo(
        f"best epoch {run.epoch}: Dice {summary.dice:.4f}, APD {apd}, good contours {summary.good_percent:.0f}% on "
        f"{summary.slices} whole slices; {(time.monotonic() - started) / 60:.1f} min; written to {folder}"
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
    if out is None or options["images"] is None or options["contours"] is None:
        raise click.UsageError("--images, --contours and --out are required (or --resume RUN)")
    build_model(options["model"], options["model_options"])
    values = dict(options)
    window = values.pop("window")
    values["images"], values["contours"] = str(values["images"].resolve()), str(values["contours"].resolve())
    return out, TrainOptions(augmentation=Augmentation(window=window), **values)
