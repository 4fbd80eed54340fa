"""The command lvseg-export."""

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from lvseg.cli import Command, console, notice
from lvseg.errors import OptionError
from lvseg.folders import check_free, new_folder
from lvseg.models import NetworkOptions
from lvseg.models.pretrained import save_as_caffemodel
from lvseg.train.recipes import DEFAULT_RECIPES
from lvseg.train.run import load_run
from lvseg_export.bundle import MANIFEST, PARITY, load_bundle
from lvseg_export.choice import RUNTIMES
from lvseg_export.cross_validation import read_cross_validation
from lvseg_export.engine_options import from_plans, given_plan_options, plan_options, to_plans
from lvseg_export.engines.plans import PlanOptions, default_folder
from lvseg_export.export import Exported, export_run
from lvseg_export.files import FILES
from lvseg_export.results import Result
from lvseg_export.slices import calibration_slices, labelled_images, validation_images
from lvseg_export.triton import SIGNATURE, write_repository

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(cls=Command)
@click.argument("run", type=_FOLDER)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Bundle folder to write; or a file ending in .caffemodel, for the weights alone as Caffe has them.",
)
@click.option("--name", help="The model's name, as a server tells it.  [default: the name of the run folder]")
@click.option(
    "--images",
    type=_FOLDER,
    help="Folder with DICOM files to check the export on, with --contours.  "
    "[default: the run's own validation slices]",
)
@click.option(
    "--contours",
    type=_FOLDER,
    help="Folder with the labels that say which images to check on, of the kind that the run was trained on.",
)
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(list(FILES)),
    help="Write a file of this precision; repeat it for more. fp32 is written in any case.",
)
@click.option(
    "--calibrate",
    type=_FOLDER,
    help="For int8: folder with DICOM files to measure ranges on, of the kind trained on; never those that "
    "the export is checked on.  [default: the run's own training slices]",
)
@click.option(
    "--triton",
    type=click.Path(path_type=Path),
    help="Write the bundle as a model repository of NVIDIA's Triton Inference Server too, into this folder.",
)
@click.option(
    "--tensorrt",
    is_flag=True,
    help="Build TensorRT's plans of the files for this machine's GPU, beside the bundle, and examine the files on "
    "them: an error where TensorRT or the GPU is missing. The five options that follow go with it.",
)
@plan_options()
@click.option(
    "--cross-validation",
    "crossed",
    type=_FOLDER,
    help="Folder of lvseg-train --cross-validate by the run's recipe: its figures go into manifest and model card.",
)
@click.option(
    "--notes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Markdown for the model card: where the data are from, their licence, limits that you know of.",
)
@click.option(
    "--overwrite", is_flag=True, help="Replace a former bundle in --out, and repository in --triton."
)
def main(
    run: Path,
    out: Path,
    name: str | None,
    images: Path | None,
    contours: Path | None,
    precisions: tuple[str, ...],
    calibrate: Path | None,
    triton: Path | None,
    tensorrt: bool,
    crossed: Path | None,
    notes: Path | None,
    overwrite: bool,
    **of_plans: Any,
) -> None:
    """Export the best model of RUN, a folder that lvseg-train wrote, as a bundle.

    A bundle is all that a server needs: the network as ONNX with its normalisation inside, a manifest with
    the SHA-256 of every file, reference slices and a model card. Nothing is written unless the
    exported network gives the trained model's masks.

    \b
    Example:
      lvseg-export runs/a --out bundles/a --precision int8
      lvseg-export runs/a --out bundles/a --precision fp16 --tensorrt --batch-max 8 --engine-cache plans
      lvseg-export runs/a --out a.caffemodel
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if (images is None) != (contours is None):
        raise OptionError("--images and --contours go together", reason="INVALID_OPTION", field="--images")
    if calibrate and "int8" not in precisions:
        raise OptionError(
            "--calibrate is for int8: add --precision int8", reason="INVALID_OPTION", field="--calibrate"
        )
    if out.suffix == ".caffemodel" and (precisions or triton or tensorrt or crossed or notes):
        raise OptionError(
            "--precision, --triton, --tensorrt, --cross-validation and --notes are for a bundle, and "
            f"{out} is a file of weights: name a folder",
            reason="INVALID_OPTION",
            field="--out",
        )
    if triton and (_within(out, triton) or _within(triton, out)):
        raise OptionError(
            f"--triton {triton} and --out {out} are to be two folders beside each other",
            reason="INVALID_OPTION",
            field="--triton",
        )
    plans = _plans(tensorrt, precisions, apart=[out, *([triton] if triton else [])], **of_plans)
    if out.suffix == ".caffemodel":
        _write_caffemodel(run, out, overwrite=overwrite)
        return
    check_free(out, signature=MANIFEST, overwrite=overwrite)
    if triton:
        check_free(triton, signature=SIGNATURE, overwrite=overwrite, option="--triton")
    text = _text(notes) if notes else ""
    trained = load_run(run)
    cross_validation = read_cross_validation(crossed, trained.record) if crossed else None
    checked_on = (
        labelled_images(trained, images, contours) if images and contours else validation_images(trained)
    )
    calibration = calibration_slices(trained, calibrate) if "int8" in precisions else []
    if calibration and not calibrate and trained.record.options.leave_none_out:
        notice(
            "the run left no slice out: int8 takes its ranges from some of those that it is checked on; name others "
            "with --calibrate"
        )
    with (
        console.status("exporting, and comparing with the trained model"),
        new_folder(out, signature=MANIFEST, overwrite=overwrite) as folder,
    ):
        exported = export_run(
            trained,
            folder,
            name=name or run.resolve().name,
            images=checked_on,
            precisions=precisions,
            calibration=calibration,
            cross_validation=cross_validation,
            notes=text,
            plans=plans,
        )
    model = exported.bundle.manifest.model
    click.echo(f"{model.name} {model.version} ({model.architecture}) written to {out}")
    for line in _lines(exported, out, plans):
        click.echo(line)
    if triton:
        with new_folder(triton, signature=SIGNATURE, overwrite=overwrite, option="--triton") as folder:
            write_repository(load_bundle(out), folder)
        click.echo(f"repository for Triton written to {triton}")


def _plans(
    tensorrt: bool, precisions: Sequence[str], *, apart: Sequence[Path], **of_plans: Any
) -> PlanOptions | None:
    """Return what TensorRT's plans are to be built for, where they are asked for.

    Raises:
        OptionError: If that cannot be: the options contradict each other, or this machine lacks something.
    """
    if not tensorrt:
        if given := given_plan_options():
            raise OptionError(
                f"{given[0]} is for TensorRT's plans: add --tensorrt", reason="INVALID_OPTION", field=given[0]
            )
        return None
    plans = to_plans(**of_plans)
    kept = plans.folder or default_folder()
    for folder in apart:
        if _within(kept, folder):
            raise OptionError(
                f"{kept} lies in {folder}, which has no place for plans: name another folder with --engine-cache",
                reason="INVALID_OPTION",
                field="--engine-cache",
            )
    RUNTIMES["tensorrt"].require(("fp32", *precisions), field="--tensorrt")
    return plans


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise OptionError(
            f"{path} is not text in UTF-8 ({error.reason} at byte {error.start}); save it as such",
            reason="NOT_TEXT",
            field="--notes",
        ) from error


def _within(one: Path, other: Path) -> bool:
    return one.resolve().is_relative_to(other.resolve())


def _lines(exported: Exported, out: Path, plans: PlanOptions | None) -> Iterator[str]:
    last_of_each = {(result.file, result.engine): result for result in exported.results}
    yield from map(_line, last_of_each.values())
    for engine in exported.bundle.manifest.engines:
        if not engine.examined:
            yield f"{engine.file} was examined by nothing: no engine here runs it, TensorRT on a GPU does"
    yield f"every check is in {out / PARITY}"
    if plans:
        served = f"lvseg-serve {out} --engine tensorrt {from_plans(plans)}".rstrip()
        yield f"TensorRT's plans are in {plans.folder or default_folder()}; start from them with: {served}"


def _line(result: Result) -> str:
    parity = result.parity
    labels = (
        f", Dice with labels {result.dice_on_labels:.4f} ({result.trained_dice_on_labels:.4f})"
        if result.dice_on_labels is not None
        else ""
    )
    return (
        f"{result.file} on {result.engine} against PyTorch, {parity.slices} {result.check}: "
        f"{parity.differing_pixels} of {parity.pixels} mask pixels differ, Dice {parity.dice:.4f}{labels}"
    )


def _write_caffemodel(run: Path, out: Path, *, overwrite: bool) -> None:
    if out.exists() and not overwrite:
        raise OptionError(
            f"{out} exists: choose another --out or pass --overwrite", reason="OUTPUT_EXISTS", field="--out"
        )
    trained = load_run(run)
    save_as_caffemodel(trained.model, out)
    options = trained.record.options
    needed = _options_to_start(options.network, options.model)
    click.echo(f"weights written to {out}; start from them with: lvseg-train {needed} --pretrained {out}")


def _options_to_start(trained: NetworkOptions, model: str) -> str:
    """Return the options of lvseg-train that these weights need, beside what the model's default recipe has."""
    default = DEFAULT_RECIPES[model].network
    needed = dataclasses.replace(trained, norm="none")  # which is folded into the convolutions
    fields = ("trunk", "width", "fc_channels", "norm", "input_channels", "normalisation")
    differing = [name for name in fields if getattr(needed, name) != getattr(default, name)]
    return " ".join(
        (f"--model {model}", *(f"--{name.replace('_', '-')} {getattr(needed, name)}" for name in differing))
    )
