"""The command lvseg-evaluate."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console

from lvseg.cli import Command, notice, progress
from lvseg.data.labelled import Index, LabelledImage, Sample, load_all
from lvseg.data.layout import case_name, case_order
from lvseg.data.sources import LABEL_FORMATS, index_labels
from lvseg.errors import OptionError
from lvseg.evaluation import evaluate
from lvseg.evaluation.console import print_evaluation
from lvseg.evaluation.folder import EVALUATION_FILE, write_evaluation
from lvseg.folders import check_free, new_folder
from lvseg_export.choice import AUTO
from lvseg_export.engine_options import engine_options
from lvseg_export.evaluate import Subject, bundle_subject, is_bundle, run_subject

if TYPE_CHECKING:
    from lvseg.train.run import Checkpoint

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_PRECISION = "fp32"  # an evaluation is to give the same figures wherever it runs


@click.command(cls=Command)
@click.argument("model", metavar="RUN_OR_BUNDLE", type=_FOLDER)
@click.option(
    "--images", type=_FOLDER, required=True, help="Folder with the images, searched with all below it."
)
@click.option(
    "--contours",
    type=_FOLDER,
    required=True,
    help="Folder with the experts' labels, searched likewise; may be the same as --images.",
)
@click.option(
    "--label-format",
    type=click.Choice(list(LABEL_FORMATS)),
    default="contours",
    show_default=True,
    help="What the labels are.",
)
@click.option(
    "--label", type=int, help="Value, or segment, of the ventricle where labels name several structures."
)
@click.option(
    "--patients",
    multiple=True,
    metavar="PATIENT",
    help="Evaluate on this patient, such as SC-HF-I-5; repeat the option for more.  [default: all there are]",
)
@click.option("--out", type=click.Path(path_type=Path), help="New folder for tables, figures and pictures.")
@click.option("--strict", is_flag=True, help="Refuse data of which any label cannot be used.")
@click.option("--overwrite", is_flag=True, help="Replace a former evaluation in --out.")
@click.option(
    "--checkpoint",
    type=click.Choice(["best", "last"]),
    help="Of a run: the one of the best validation Dice, or that of the last epoch.  [default: best]",
)
@engine_options(precision=_PRECISION)
def main(
    model: Path,
    images: Path,
    contours: Path,
    label_format: str,
    label: int | None,
    patients: tuple[str, ...],
    out: Path | None,
    strict: bool,
    overwrite: bool,
    checkpoint: "Checkpoint | None",
    runtime: str,
    precision: str,
    threads: int | None,
) -> None:
    """Measure how well RUN_OR_BUNDLE outlines the left ventricle, on whole slices that experts labelled.

    RUN_OR_BUNDLE is a folder that lvseg-train or lvseg-export wrote. Prints a table a patient and the
    totals, scored in two ways: honest (every slice counts) and as the 2009 challenge does (good contours
    alone). In --out: slices.csv, patients.csv, evaluation.json, bland_altman.png and gallery.png, the worst
    slices.

    \b
    Examples:
      lvseg-evaluate runs/a --images sunnybrook --contours sunnybrook --patients SC-HF-I-5
      lvseg-evaluate bundles/a --images sunnybrook --contours sunnybrook --out evaluations/a
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if out is not None:
        check_free(out, signature=EVALUATION_FILE, overwrite=overwrite)
    subject = _load(model, checkpoint, runtime, precision, threads)
    index = index_labels(images, contours, label_format, label=label, strict=strict)
    labelled = _decode(index, patients, strict=strict)
    seen = _seen_in_training(subject, labelled)
    if seen:
        notice(f"trained on slices of {', '.join(seen)}: what follows of them flatters")
    with progress() as bar:
        evaluation = evaluate(subject.predict, bar.track(labelled, description="segmenting"))
    console = Console(width=None if sys.stdout.isatty() else 100, highlight=False)
    console.print(subject.title, soft_wrap=True, markup=False)
    print_evaluation(evaluation, console)
    if out is not None:
        with new_folder(out, signature=EVALUATION_FILE, overwrite=overwrite) as folder:
            data = {
                "images": str(images),
                "labels": str(contours),
                "label_format": label_format,
                "patients_trained_on": seen,
            }
            write_evaluation(evaluation, folder, {**subject.description, "data": data})
        console.print(f"written to {out}", soft_wrap=True, markup=False)


def _load(
    model: Path, checkpoint: "Checkpoint | None", runtime: str, precision: str, threads: int | None
) -> Subject:
    if is_bundle(model):
        if checkpoint:
            raise _other_kind("--checkpoint", "a run", f"{model} is a bundle")
        return bundle_subject(model, runtime=runtime, precision=precision, threads=threads)
    subject = run_subject(model, checkpoint=checkpoint or "best", threads=threads)
    for option, value, default in (("--engine", runtime, AUTO), ("--precision", precision, _PRECISION)):
        if value != default:
            raise _other_kind(option, "a bundle", f"{model} is a run, which PyTorch runs")
    return subject


def _other_kind(option: str, kind: str, found: str) -> OptionError:
    return OptionError(
        f"{option} is for {kind}, but {found}; leave it out", reason="INVALID_OPTION", field=option
    )


def _decode(index: Index[Sample], patients: Sequence[str], *, strict: bool) -> tuple[LabelledImage, ...]:
    """Decode what to evaluate on; labels left out are named on standard error."""
    chosen = choose_patients(index.samples, patients)
    with progress() as bar:
        loaded = load_all(chosen, bar, strict=strict)
    for problem in (*index.problems, *loaded.problems):
        notice(f"left out: {problem.message}")
    return loaded.images


def choose_patients(samples: Sequence[Sample], patients: Sequence[str]) -> list[Sample]:
    """Return the slices of these patients, or all where none is named.

    Raises:
        OptionError: If a patient is not in the data set; the message lists those that are.
    """
    known = dict.fromkeys(sample.patient for sample in samples)
    wanted = {case_name(patient): patient for patient in patients}
    for case, patient in wanted.items():
        if case not in {case_name(name) for name in known}:
            raise OptionError(
                f"no patient {patient} in the data set; it has {', '.join(sorted(known, key=case_order))}",
                reason="UNKNOWN_PATIENT",
                field="--patients",
                expected=", ".join(sorted(known, key=case_order)),
            )
    return [sample for sample in samples if not wanted or case_name(sample.patient) in wanted]


def _seen_in_training(subject: Subject, images: Sequence[LabelledImage]) -> list[str]:
    return sorted({image.patient for image in images} & subject.trained_on, key=case_order)
