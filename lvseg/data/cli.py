"""The command lvseg-data: look at a data set before training on it."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from lvseg.cli import Command, progress
from lvseg.data.labelled import LabelledImage, Problem, Sample, load_all
from lvseg.data.layout import case_order
from lvseg.data.pairs import PAIRS_FILE, write_pairs
from lvseg.data.sources import LABEL_FORMATS, index_labels
from lvseg.data.split import Split, check_patients_apart, choose_split
from lvseg.data.summary import Summary, summarise
from lvseg.folders import check_free, new_folder

_LAB_PERCENT = 10.0
_LEGEND = (
    "epicardium: slices with an o-contour too; slices: positions along the heart; phases: labelled images at "
    "one position; time: after the R wave; size: rows x columns; spacing: between rows x between columns; "
    "LV, %: of all pixels, how many are left ventricle, and the least and most in one image.\n"
)
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(cls=Command)
@click.option(
    "--images",
    type=_FOLDER,
    required=True,
    help="Folder with the images: the whole download or any part of it, such as challenge_training "
    "or SCD_IMAGES_01.",
)
@click.option(
    "--contours",
    type=_FOLDER,
    required=True,
    help="Folder with the experts' contours, or with labels of another --label-format; may be the same as "
    "--images.",
)
@click.option(
    "--label-format",
    type=click.Choice(list(LABEL_FORMATS)),
    default="contours",
    show_default=True,
    help="Sunnybrook's contours, PNG, BMP or TIFF masks beside DICOM, DICOM SEG objects, or NIfTI pairs.",
)
@click.option(
    "--label",
    type=click.IntRange(1),
    metavar="NUMBER",
    help="The ventricle's value in masks and NIfTI labels (3 in ACDC's), or the number of its segment.",
)
@click.option(
    "--validate",
    "patients",
    metavar="PATIENT",
    multiple=True,
    help="Keep this patient, such as SC-HF-I-5, for validation; repeat the option for more.",
)
@click.option(
    "--validation-percent",
    type=click.FloatRange(0, 100, min_open=True, max_open=True),
    help=f"Keep a random share of the contours for validation instead.  [default: {_LAB_PERCENT:g} "
    "where no --validate is given]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of the random share."
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help=f"New folder for pictures of image and label, a contact sheet, and {PAIRS_FILE}, a table of all "
    "slices.",
)
@click.option(
    "--pictures",
    type=click.IntRange(min=1),
    default=12,
    show_default=True,
    help="How many slices to picture in --out, spread evenly over the data set.",
)
@click.option("--strict", is_flag=True, help="Refuse a data set of which any contour cannot be used.")
@click.option("--overwrite", is_flag=True, help="Replace a former result in --out.")
def main(
    images: Path,
    contours: Path,
    label_format: str,
    label: int | None,
    patients: tuple[str, ...],
    validation_percent: float | None,
    seed: int,
    out: Path | None,
    pictures: int,
    strict: bool,
    overwrite: bool,
) -> None:
    """Show what a folder of images and contours holds, as a training would use it.

    Both layouts of the Sunnybrook data are understood, that of the 2009 challenge and that of the Cardiac
    Atlas Project, and labels of other kinds; all are found by walking through the folders. Prints how many
    slices go to training and to validation, what each patient brings, and every contour or label that cannot
    be used, with the reason.

    \b
    Examples:
      lvseg-data --images sunnybrook --contours sunnybrook --validate SC-HF-I-5
      lvseg-data --images sunnybrook --contours sunnybrook --out pairs
      lvseg-data --images acdc/training --contours acdc/training --label-format nifti --label 3
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if out is not None:
        check_free(out, signature=PAIRS_FILE, overwrite=overwrite)
    index = index_labels(images, contours, label_format, label=label, strict=strict)
    chosen, rule = _split(index.samples, patients, validation_percent, seed)
    with progress() as bar:
        loaded = load_all(index.samples, bar, strict=strict)
    held_out = {sample.name for sample in chosen.validation}
    split = Split(
        tuple(image for image in loaded.images if image.name not in held_out),
        tuple(image for image in loaded.images if image.name in held_out),
    )
    if patients:
        check_patients_apart(split)
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(_split_table(split, rule))
    for table in _patient_tables(loaded.images, split):
        console.print(table)
    console.print(_LEGEND)
    if index.empty:
        console.print(f"Slices whose label marks no ventricle, not used: {index.empty}")
    _print_problems(console, (*index.problems, *loaded.problems))
    if out is not None:
        with new_folder(out, signature=PAIRS_FILE, overwrite=overwrite) as folder:
            count = write_pairs(folder, split, pictures=pictures)
        console.print(
            f"{out}: {PAIRS_FILE} with all {len(loaded.images)} slices, {count} of them as pictures",
            soft_wrap=True,
            markup=False,
        )


def _split(
    samples: Sequence[Sample], patients: Sequence[str], percent: float | None, seed: int
) -> tuple[Split[Sample], str]:
    """Return the split that the options ask for, or else the lab's, and its rule in words."""
    if not patients and percent is None:
        if len(samples) * _LAB_PERCENT < 100:
            # Nobody asked for a share, and a handful of slices can still be looked at.
            return Split(tuple(samples), ()), f"too few contours for {_LAB_PERCENT:g}%"
        percent = _LAB_PERCENT
    split = choose_split(samples, patients, percent, seed=seed)
    if patients:
        return split, "by patient: " + ", ".join(dict.fromkeys(sample.patient for sample in split.validation))
    return split, f"{percent:g}% of the contours, seed {seed}"


def _split_table(split: Split[LabelledImage], rule: str) -> Table:
    table = _table(f"Split, {rule}", "set", "contours", "patients", "LV, %")
    for name, images in (("training", split.training), ("validation", split.validation)):
        if images:
            summary = summarise(images)
            table.add_row(
                name, str(summary.contours), str(len(summary.patients)), f"{100 * summary.share:.2f}"
            )
        else:
            table.add_row(name, "0", "0", "")
    return table


def _patient_tables(images: Sequence[LabelledImage], split: Split[LabelledImage]) -> tuple[Table, Table]:
    """Return what each patient brings, and what the images are like: two tables that fit 80 columns."""
    counts = _table(
        "Patients", "patient", "training", "validation", "epicardium", "slices", "phases", "time, ms"
    )
    measures = _table("Images", "patient", "size", "spacing, mm", "LV area, mm²", "LV, %", "LV, % an image")
    patients = sorted({image.patient for image in images}, key=case_order)
    for name, chosen in (*((patient, {patient}) for patient in patients), ("all", set(patients))):
        if name == "all":
            counts.add_section()
            measures.add_section()
        sides = (
            sum(image.patient in chosen for image in side) for side in (split.training, split.validation)
        )
        summary = summarise([image for image in images if image.patient in chosen])
        counts.add_row(name, *map(str, sides), *_counts(summary))
        measures.add_row(name, *_measures(summary))
    return counts, measures


def _table(title: str, first: str, *others: str) -> Table:
    table = Table(
        first, title=title, title_justify="left", title_style="bold", box=box.SIMPLE, pad_edge=False
    )
    for heading in others:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _counts(summary: Summary) -> tuple[str, ...]:
    return (
        str(summary.epicardial),
        "unknown" if summary.slices is None else str(summary.slices),
        "unknown" if summary.phases is None else _range(*summary.phases, digits=0),
        "unknown" if summary.trigger_times_ms is None else _range(*summary.trigger_times_ms, digits=0),
    )


def _measures(summary: Summary) -> tuple[str, ...]:
    sizes = (f"{rows} x {columns}" for rows, columns in summary.shapes)
    spacings = (f"{rows:.4g} x {columns:.4g}" for rows, columns in summary.pixel_spacings)
    return (
        "\n".join(sizes),
        "\n".join(dict.fromkeys(spacings)),
        _range(*summary.areas_mm2, digits=0),
        f"{100 * summary.share:.2f}",
        _range(*(100 * share for share in summary.shares), digits=2),
    )


def _range(low: float, high: float, *, digits: int) -> str:
    first, last = f"{low:.{digits}f}", f"{high:.{digits}f}"
    return first if first == last else f"{first} to {last}"


def _print_problems(console: Console, problems: Sequence[Problem]) -> None:
    """Print one unbroken line a problem, so that names can be searched and copied."""
    if not problems:
        console.print("Every label can be used.")
        return
    console.print(f"Labels left out: {len(problems)}")
    for problem in problems:
        console.print(f"  {problem.reason}  {problem.message}", soft_wrap=True, markup=False)
