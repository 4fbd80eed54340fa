"""The whole main job, run as a user would type it: what `make demo` does.

Each step is one of lvseg's commands in a process of its own, and is printed before it runs.
"""

import csv
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from lvseg.cli import Command
from lvseg.data.split import split_by_patient
from lvseg.data.sunnybrook import LabelledSlice, index_sunnybrook
from lvseg.errors import OperationError, OptionError
from lvseg.folders import check_free, remove_former

SUMMARY = "demo.json"
RESULTS = "segmentation"
PHANTOM_PATIENTS = 8
PHANTOM_EPOCHS = 10
PHANTOM_RATE = 2e-3  # a training this short wants a higher peak than the default
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@dataclass(frozen=True, kw_only=True)
class Data:
    """What to train on, and whom to validate on."""

    images: Path
    contours: Path
    validate: Sequence[str]
    slices: Sequence[LabelledSlice]
    """The validation patients'."""
    training: Sequence[object]
    """More options of lvseg-train."""


@click.command(cls=Command)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default="demo",
    show_default=True,
    help="Folder to write; a former demo in it is replaced.",
)
@click.option("--images", type=_FOLDER, help="Real images to use in place of phantoms.")
@click.option("--contours", type=_FOLDER, help="Their contours.")
@click.option(
    "--validate", multiple=True, metavar="PATIENT", help="Patient to validate on.  [default: the last one]"
)
@click.option(
    "--epochs",
    type=click.IntRange(1),
    help=f"[default: {PHANTOM_EPOCHS} on phantoms, the recipe's on real data]",
)
@click.option("--model", default="fcn-8s", show_default=True)
def main(
    out: Path,
    images: Path | None,
    contours: Path | None,
    validate: tuple[str, ...],
    epochs: int | None,
    model: str,
) -> None:
    """Segment with the model that comes with lvseg, then train, export, serve and segment every validation slice."""
    if (images is None) != (contours is None):
        raise OptionError("--images and --contours go together", reason="INVALID_OPTION", field="--images")
    check_free(out, signature=SUMMARY, overwrite=True)
    started = time.monotonic()
    if images and contours:
        data = _choose(images, contours, validate, ("--epochs", epochs) if epochs else ())
        _start(out)
    else:
        _start(out)
        phantom = out / "phantom"
        _run("lvseg-phantom", "--out", phantom, "--patients", PHANTOM_PATIENTS, "--seed", 1)
        short = ("--learning-rate", PHANTOM_RATE, "--augmentation", "light", "--working-spacing", "median")
        training = ("--epochs", epochs or PHANTOM_EPOCHS, *short)
        data = _choose(phantom, phantom, validate, training)
    _segment_with_the_shipped_model(out, data)
    rows = _main_job(out, data, model)
    _print(rows)
    minutes = (time.monotonic() - started) / 60
    mean_dice = float(np.mean([float(row["dice"]) for row in rows]))
    summary = {
        "minutes": round(minutes, 2),
        "model": model,
        "validate": data.validate,
        "mean_dice": round(mean_dice, 4),
        "slices": rows,
    }
    (out / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n")
    click.echo(
        f"mean Dice {mean_dice:.4f} over {len(rows)} slices in {minutes:.1f} minutes; overlays in "
        f"{out / RESULTS}, numbers in {out / SUMMARY}"
    )


def _start(out: Path) -> None:
    """Make the demo's folder in the place of a former one."""
    remove_former(out)
    out.mkdir(parents=True)
    (out / SUMMARY).write_text("{}\n")


def _choose(images: Path, contours: Path, validate: Sequence[str], training: Sequence[object]) -> Data:
    samples = index_sunnybrook(images, contours).samples
    split = split_by_patient(samples, validate or [samples[-1].patient])
    patients = list(dict.fromkeys(sample.patient for sample in split.validation))
    return Data(
        images=images, contours=contours, validate=patients, slices=split.validation, training=training
    )


def _segment_with_the_shipped_model(out: Path, data: Data) -> None:
    """Segment the validation slices without a server and without a training: what an installation can at once."""
    files = [sample.image for sample in data.slices]
    _run("lvseg-segment", *files, "--local", "--contours", data.contours, "--out", out / "shipped")


def _main_job(out: Path, data: Data, model: str) -> list[dict[str, str]]:
    """Train, export, serve, segment and measure; return the table that lvseg-segment wrote."""
    run, bundle, results = out / "run", out / "bundle", out / RESULTS
    where = ("--images", data.images, "--contours", data.contours)
    patients = [word for patient in data.validate for word in ("--validate", patient)]
    _run("lvseg-train", *where, "--model", model, *patients, *data.training, "--out", run)
    _run("lvseg-export", run, "--out", bundle)
    # Without what training had to leave out.
    validated = json.loads((run / "options.json").read_text())["validation"]
    files = [sample.image for sample in data.slices if sample.name in validated]
    middle = files[len(files) // 2]
    with _server(bundle) as server:
        _run("lvseg-segment", *files, "--server", server, "--contours", data.contours, "--out", results)
        _run(
            *("lvseg-bench", bundle, "--server", server, "--image", middle, "--calls", 20),
            *("--json", out / "bench.json"),
        )
    with (results / "segmentation.csv").open(newline="") as stream:
        return [{"slice": _name(row["file"], data.slices), **row} for row in csv.DictReader(stream)]


def _name(file: str, slices: Sequence[LabelledSlice]) -> str:
    """Return the name of the slice whose image lvseg-segment calls ``file``, a path from a folder above it."""
    return next(sample.name for sample in slices if Path(sample.image).match(file))


def _command(name: str, *arguments: object) -> list[str]:
    words = [name, *map(str, arguments)]
    shown = shlex.join(words if len(words) < 20 else [*words[:2], "...", *words[-6:]])
    click.secho(f"\n$ {shown}", bold=True)
    return [str(Path(sys.executable).with_name(name)), *words[1:]]


def _run(name: str, *arguments: object) -> None:
    code = subprocess.run(_command(name, *arguments), check=False).returncode  # noqa: S603
    if code:
        error = OperationError(f"{name} ended with exit code {code}; what it said stands above")
        error.exit_code = code
        raise error


@contextmanager
def _server(bundle: Path) -> Iterator[str]:
    """Run lvseg-serve on a free loopback port; yield its address."""
    command = _command("lvseg-serve", bundle, "--listen", "127.0.0.1:0")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            line = server.stdout.readline() if server.stdout else ""
            click.echo(line, nl=False)
            address = re.search(r"on (\S+:\d+);", line)
            if not address:
                raise OperationError("lvseg-serve did not come up; what it said stands above")
            yield address[1]
        finally:
            server.send_signal(signal.SIGTERM)


def _print(rows: Sequence[dict[str, str]]) -> None:
    table = Table(
        title="validation slices, through the server",
        caption="ms: a slice's own time on the server, without waits",
    )
    table.add_column("slice")
    for column in ("Dice", "APD mm", "area mm²", "ms"):
        table.add_column(column, justify="right")
    for row in rows:
        figures = [(row["dice"], 3), (row["apd_mm"], 2), (row["area_mm2"], 0), (row["ms"], 1)]
        cells = [f"{float(value):.{digits}f}" if value else "-" for value, digits in figures]
        table.add_row(row["slice"], *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
