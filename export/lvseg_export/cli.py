"""The command lvseg-export."""

import dataclasses
from pathlib import Path

import click

from lvseg.cli import Command, console, notice
from lvseg.data.labelled import load_all
from lvseg.data.sources import index_labels
from lvseg.dicom import Slice
from lvseg.errors import DatasetError, OptionError
from lvseg.folders import check_free, new_folder
from lvseg.models import NetworkOptions
from lvseg.models.pretrained import save_as_caffemodel
from lvseg.train.recipes import DEFAULT_RECIPES
from lvseg.train.run import TrainedRun, load_run
from lvseg_export.bundle import MANIFEST
from lvseg_export.export import export_run

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
@click.option("--overwrite", is_flag=True, help="Replace a former bundle in --out.")
def main(
    run: Path, out: Path, name: str | None, images: Path | None, contours: Path | None, overwrite: bool
) -> None:
    """Export the best model of RUN, a folder that lvseg-train wrote, as a bundle.

    A bundle is all that a server needs: the network as ONNX with its normalisation inside, a manifest with
    the SHA-256 of every file, reference slices and a model card. Nothing is written unless the
    exported network gives the trained model's masks.

    \b
    Example:
      lvseg-export runs/a --out bundles/a
      lvseg-export runs/a --out a.caffemodel
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if (images is None) != (contours is None):
        raise OptionError("--images and --contours go together", reason="INVALID_OPTION", field="--images")
    if out.suffix == ".caffemodel":
        _write_caffemodel(run, out, overwrite=overwrite)
        return
    check_free(out, signature=MANIFEST, overwrite=overwrite)
    trained = load_run(run)
    slices = (
        _labelled_slices(trained, images, contours) if images and contours else _validation_slices(trained)
    )
    with (
        console.status("exporting, and comparing with the trained model"),
        new_folder(out, signature=MANIFEST, overwrite=overwrite) as folder,
    ):
        bundle = export_run(trained, folder, name=name or run.resolve().name, slices=slices)
    model = bundle.manifest.model
    click.echo(f"{model.name} {model.version} ({model.architecture}) written to {out}")
    for engine in bundle.manifest.engines:
        for check, parity in engine.parity.items():
            click.echo(
                f"{engine.file} ({engine.precision}) against PyTorch on {parity['slices']} {check}: "
                f"{parity['differing_pixels']} of {parity['pixels']} mask pixels differ, "
                f"probability by {parity['largest_probability_difference']:.1e} at most"
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


def _labelled_slices(run: TrainedRun, images: Path, contours: Path) -> list[Slice]:
    """Return other slices to check on, with labels of the run's own kind; those left out are told."""
    options = run.record.options
    index = index_labels(images, contours, options.label_format, label=options.label)
    loaded = load_all(index.samples)
    for problem in (*index.problems, *loaded.problems):
        notice(f"left out: {problem.message}")
    return [image.slice for image in loaded.images]


def _validation_slices(run: TrainedRun) -> list[Slice]:
    """Return the run's validation slices; those that lie no longer where they did are told."""
    options, wanted = run.record.options, set(run.record.validation)
    try:
        samples = index_labels(
            Path(options.images), Path(options.contours), options.label_format, label=options.label
        ).samples
    except DatasetError:
        samples = ()
    found = [sample for sample in samples if sample.name in wanted]
    if len(found) < len(wanted):
        instead = f"checking on {len(found)} of them and" if found else "checking on"
        notice(
            f"{len(wanted) - len(found)} of the run's {len(wanted)} validation slices are not in {options.images} any "
            f"more: {instead} phantoms; pass --images and --contours to check on other real slices",
        )
    return [sample.load().slice for sample in found]
