"""The command lvseg-train."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from lvseg.cli import Command
from lvseg.errors import OptionError
from lvseg.folders import check_free, remove_former
from lvseg.train.cli_options import (
    DATA,
    FOLDER,
    MACHINE,
    NETWORK,
    TRAINING,
    given,
    options,
    recipe_table,
    resolve,
)
from lvseg.train.once import train_or_go_on
from lvseg.train.options import OPTIONS_FILE, RunRecord, TrainOptions
from lvseg.train.processes import check_machine, join_processes, one_voice, only_first
from lvseg.train.recipes import RECIPES
from lvseg.train.series import SERIES_FILE, Series, leave_one_out, sweep
from lvseg.train.series_run import run_series
from lvseg.train.start import check_start
from lvseg.train.training import load_images, split_images


def _print_recipes(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        click.echo(recipe_table())
        context.exit()


@click.command(cls=Command)
@click.option("--out", type=click.Path(path_type=Path), help="Run folder to write. Required.")
@click.option(
    "--recipe",
    metavar="NAME",
    help=f"How to train: {', '.join(RECIPES)}.  [default: scratch-fcn8s, or scratch-alexnet for that model]",
)
@click.option(
    "--list-recipes",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_recipes,
    help="Print what each recipe is for, and exit.",
)
@click.option("--like", type=FOLDER, metavar="RUN", help="Take every option that is not given from this run.")
@options(DATA, NETWORK, TRAINING, MACHINE)
@click.option(
    "--cross-validate", is_flag=True, help="Train once for each patient, who is left out; report all of them."
)
@click.option(
    "--threads",
    type=click.IntRange(1),
    help="CPU threads; with the same number a run repeats to the last digit.  [default: PyTorch's choice]",
)
@click.option("--overwrite", is_flag=True, help="Replace a former run in --out.")
@click.option(
    "--resume",
    type=FOLDER,
    metavar="RUN",
    help="Go on with an interrupted run or series of runs; its folder holds every other option.",
)
@click.pass_context
def main(
    context: click.Context,
    /,
    out: Path | None,
    recipe: str | None,
    like: Path | None,
    cross_validate: bool,
    threads: int | None,
    overwrite: bool,
    resume: Path | None,
    **values: Any,
) -> None:
    """Train a left-ventricle segmenter on slices with expert labels.

    Writes a run folder: options.json, checkpoints, metrics.csv, report.html, validation.csv and
    overlays of the validation slices. Export it with lvseg-export. A recipe decides what is not given.

    \b
    Examples:
      lvseg-train --images sunnybrook --contours sunnybrook --validate SC-HF-I-5 --out runs/a
      lvseg-train --like runs/a --epochs 100 --out runs/b
      lvseg-train --recipe lab-1 --images sunnybrook --contours sunnybrook --out runs/lab-1
      lvseg-train --resume runs/a
    """  # noqa: D301 - click's own mark for text that it shall not fold
    started = time.monotonic()
    with one_voice():
        if resume:
            _refuse_options_beside_resume(context)
            folder = resume
            _resume(resume, threads)
        else:
            if out is None:
                raise click.UsageError("--out is required (or --resume RUN)")
            folder = out
            _start(
                out,
                recipe,
                like,
                given(values),
                threads=threads,
                cross_validate=cross_validate,
                overwrite=overwrite,
            )
        click.echo(f"{(time.monotonic() - started) / 60:.1f} min; written to {folder}")


def _resume(folder: Path, threads: int | None) -> None:
    if (folder / SERIES_FILE).is_file():
        series = Series.read(folder)
        for one in series.runs.values():
            check_machine(one)
        chosen = next(iter(series.runs.values()))
        join_processes(chosen, threads=threads)
        run_series(folder, series, load_images(chosen))
    else:
        chosen = RunRecord.read(folder).options
        join_processes(chosen, threads=threads)
        train_or_go_on(folder, chosen, split_images(load_images(chosen), chosen))


def _start(
    folder: Path,
    recipe: str | None,
    like: Path | None,
    values: dict[str, Any],
    *,
    threads: int | None,
    cross_validate: bool,
    overwrite: bool,
) -> None:
    rates, sizes = values.pop("learning_rate", ()), values.pop("batch_size", ())
    if rates:
        values["learning_rate"] = rates[0]
    if sizes:
        values["batch_size"] = sizes[0]
    chosen = resolve(values, recipe=recipe, like=RunRecord.read(like).options if like else None)
    several = len(rates) > 1 or len(sizes) > 1
    if several and chosen.leave_none_out:
        raise OptionError(
            "several rates or batch sizes are to be compared, and --leave-none-out keeps no slice to compare them "
            "on; compare them with --validate first",
            reason="INVALID_OPTION",
            field="--leave-none-out",
        )
    if cross_validate:
        _refuse_beside_cross_validate(values, several=several)
    series = None
    if several:
        series = sweep(chosen, rates or (chosen.learning_rate,), sizes or (chosen.batch_size,))
    for one in series.runs.values() if series else (chosen,):
        check_machine(one)
    join_processes(chosen, threads=threads)
    signature = SERIES_FILE if several or cross_validate else OPTIONS_FILE
    only_first(lambda: _check_free(folder, chosen, signature, overwrite=overwrite))
    images = load_images(chosen)
    if cross_validate:
        series = leave_one_out(chosen, list(dict.fromkeys(image.patient for image in images)))
    if series is None:
        data = split_images(images, chosen)
        check_start(chosen, data)
        only_first(lambda: remove_former(folder))
        train_or_go_on(folder, chosen, data)
        return
    for one in series.runs.values():
        check_start(one, split_images(images, one))
    only_first(lambda: remove_former(folder))
    only_first(lambda: series.write(folder))
    run_series(folder, series, images)


def _refuse_beside_cross_validate(values: Mapping[str, Any], *, several: bool) -> None:
    beside = [
        f"--{name.replace('_', '-')}"
        for name in ("validate", "leave_none_out", "early_stopping")
        if name in values
    ]
    if beside:
        raise OptionError(
            "--cross-validate leaves each patient out in turn and looks at it when all is over; leave out "
            f"{' and '.join(beside)}",
            reason="INVALID_OPTION",
            field="--cross-validate",
        )
    if several:
        raise OptionError(
            "--cross-validate and several rates or batch sizes cannot go together; compare them first",
            reason="INVALID_OPTION",
            field="--cross-validate",
        )


def _check_free(folder: Path, chosen: TrainOptions, signature: str, *, overwrite: bool) -> None:
    check_free(folder, signature=signature, overwrite=overwrite)
    weights = Path(chosen.pretrained) if chosen.pretrained else None
    if weights and folder.resolve() in (weights, *weights.parents):
        raise OptionError(
            f"--out {folder} would take the place of the weights of --pretrained; choose another --out",
            reason="OUTPUT_EXISTS",
            field="--out",
        )


def _refuse_options_beside_resume(context: click.Context) -> None:
    for parameter in context.command.params:
        name = parameter.name or ""
        chosen = context.get_parameter_source(name) is not ParameterSource.DEFAULT
        if chosen and name not in {"resume", "threads"}:
            raise OptionError(
                f"--resume takes every option from the run; leave out {parameter.opts[0]}",
                reason="INVALID_OPTION",
                field="--resume",
            )
