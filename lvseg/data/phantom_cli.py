"""The command lvseg-phantom: a data set for trying everything else, without a patient."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Table

from lvseg.cli import Command, progress
from lvseg.data.phantom import CONTOURS, IMAGES, LIMITS, SIGNATURE, PhantomPatient, write_phantoms
from lvseg.folders import check_free


@click.command(cls=Command)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="New folder for the data set.",
)
@click.option(
    "--patients",
    type=click.IntRange(*LIMITS["patients"]),
    default=8,
    show_default=True,
    help="Patients to write.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="The same seed and options give the same files; other seeds give other patients.",
)
@click.option(
    "--slices",
    type=click.IntRange(*LIMITS["slices"]),
    default=9,
    show_default=True,
    help="Slices from base to apex.",
)
@click.option(
    "--phases",
    type=click.IntRange(*LIMITS["phases"]),
    default=20,
    show_default=True,
    help="Phases of the heartbeat.",
)
@click.option(
    "--size",
    type=click.IntRange(*LIMITS["size"]),
    default=256,
    show_default=True,
    help="Rows, and columns, of an image. The field of view stays the same.",
)
@click.option(
    "--all-phases", is_flag=True, help="Write every phase, not only the images that have a contour."
)
@click.option("--overwrite", is_flag=True, help="Replace a former data set in --out.")
def main(
    out: Path,
    patients: int,
    seed: int,
    slices: int,
    phases: int,
    size: int,
    all_phases: bool,
    overwrite: bool,
) -> None:
    """Write synthetic short-axis cine MR with exact contours of the left ventricle.

    Patients are healthy, failing and hypertrophic in turn. The files are DICOM images and contour texts in
    the layout of the Sunnybrook challenge: i-contours (the blood pool) at end-diastole and end-systole,
    o-contours (the epicardium) at end-diastole. phantom.json holds volumes and ejection fractions.

    \b
    Example:
      lvseg-phantom --out phantom --patients 8 --seed 1
    """  # noqa: D301 - click's own mark for text that it shall not fold
    check_free(out, signature=SIGNATURE, overwrite=overwrite)
    with progress() as bar:
        task = bar.add_task("painting slices", total=patients * slices)
        written = write_phantoms(
            out,
            patients,
            seed,
            slices=slices,
            phases=phases,
            size=size,
            all_phases=all_phases,
            overwrite=overwrite,
            advance=lambda: bar.advance(task),
        )
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    console.print(_table(written))
    images, contours = (sum(getattr(patient, kind) for patient in written) for kind in ("images", "contours"))
    console.print(f"{out}: {images} images and {contours} contours of {len(written)} patients, seed {seed}")
    folders = f"--images {shlex.quote(str(out / IMAGES))} --contours {shlex.quote(str(out / CONTOURS))}"
    console.print(f"Look at it with:  lvseg-data {folders}", soft_wrap=True, markup=False)
    if len(written) > 1:
        held_out = f"--validate {written[-1].name} --out runs/phantom"
        console.print(f"Train on it with: lvseg-train {folders} {held_out}", soft_wrap=True, markup=False)


def _table(patients: Sequence[PhantomPatient]) -> Table:
    table = Table("patient", "heart", box=box.SIMPLE, pad_edge=False)
    for heading in (
        "EDV, mL",
        "ESV, mL",
        "EF, %",
        "wall, mm",
        "pixel, mm",
        "slices, mm",
        "images",
        "contours",
    ):
        table.add_column(heading, justify="right")
    for patient in patients:
        table.add_row(
            patient.name,
            patient.kind,
            f"{patient.edv_ml:.0f}",
            f"{patient.esv_ml:.0f}",
            f"{patient.ef_percent:.0f}",
            f"{patient.wall_mm:.1f}",
            f"{patient.pixel_spacing_mm:.3g}",
            f"{patient.slice_spacing_mm:.1f}",
            str(patient.images),
            str(patient.contours),
        )
    return table
