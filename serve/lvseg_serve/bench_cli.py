"""The command lvseg-bench."""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from lvseg.cli import Command, progress
from lvseg.data.files import find_dicom
from lvseg.data.phantom import write_phantoms
from lvseg.dicom import read_slice
from lvseg.errors import OptionError
from lvseg_export.bundle import Bundle, load_bundle
from lvseg_export.choice import AUTO, RUNTIMES
from lvseg_export.engine_options import engine_options
from lvseg_serve.address import parse_address
from lvseg_serve.bench import Row, Subject, environment, measure
from lvseg_serve.bench_engines import ALL, engine_subjects, labelled_images, load_engines
from lvseg_serve.client import Client

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


def _batches(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        batches = tuple(int(part) for part in text.split(","))
    except ValueError:
        batches = ()
    if not batches or min(batches) < 1:
        raise click.BadParameter(f"expected whole numbers above 0 with commas between, got {text!r}")
    return batches


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--server",
    metavar="HOST:PORT",
    help="Measure this server too, in turn with the engine alone; it has to serve the same model.",
)
@click.option(
    "--image",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="DICOM slice to measure with.  [default: a phantom of 256 x 256]",
)
@click.option(
    "--batch",
    "batches",
    default="1,4",
    show_default=True,
    callback=_batches,
    help="Batch sizes to measure the engine with, with commas between.",
)
@engine_options(engines=(ALL, AUTO, *RUNTIMES))
@click.option(
    "--images", type=_FOLDER, help="With --contours: tell the Dice on these slices in each engine's row."
)
@click.option("--contours", type=_FOLDER, help="Folder with the experts' contours of --images.")
@click.option(
    "--calls", type=click.IntRange(1), default=50, show_default=True, help="Counted calls of each row."
)
@click.option("--warmup", type=click.IntRange(0), default=5, show_default=True, help="Calls before those.")
@click.option(
    "--json", "json_path", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures here too."
)
@click.option("--overwrite", is_flag=True, help="Replace the file of --json.")
def main(
    bundle: Path,
    server: str | None,
    image: Path | None,
    batches: tuple[int, ...],
    runtime: str,
    precision: str,
    threads: int | None,
    images: Path | None,
    contours: Path | None,
    calls: int,
    warmup: int,
    json_path: Path | None,
    overwrite: bool,
) -> None:
    """Measure how fast BUNDLE runs here: engines alone and, with --server, through gRPC.

    All rows are measured in turn in one run, on one slice, so their ratio holds on a busy machine too. An
    engine that cannot run the bundle, or does not say what the trained model says, is told with its reason.

    \b
    Examples:
      lvseg-bench bundles/a --engine all --images sunnybrook --contours sunnybrook
      lvseg-bench bundles/a --server 127.0.0.1:50051 --json bench.json
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if server:
        parse_address(server, option="--server")
    if json_path:
        _check_json(json_path, overwrite)
    if (images is None) != (contours is None):
        raise OptionError("--images and --contours go together", reason="INVALID_OPTION", field="--images")
    checked = load_bundle(bundle)
    labelled = labelled_images(images, contours) if images and contours else ()
    dicom = image.read_bytes() if image else _phantom()
    slice_ = read_slice(image or dicom)
    engines, failures = load_engines(checked, runtime, precision, threads)
    with ExitStack() as stack:
        subjects = list(engine_subjects(checked, engines, slice_, batches, labelled))
        if server:
            client = stack.enter_context(Client(server))
            subjects.append(_server_subject(client, checked, dicom))
        display = stack.enter_context(progress())
        task = display.add_task("measuring", total=calls + warmup)
        rows = measure(subjects, calls=calls, warmup=warmup, advance=lambda: display.advance(task))
    _print(rows)
    for failure in failures:
        click.echo(f"{failure.engine} {failure.precision}: not measured: {failure.reason}")
    if json_path:
        document = {
            "environment": environment(),
            "model": dataclasses.asdict(checked.manifest.model),
            "rows": [dataclasses.asdict(row) for row in rows],
            "failures": [dataclasses.asdict(failure) for failure in failures],
        }
        json_path.write_text(json.dumps(document, indent=2) + "\n")


def _check_json(path: Path, overwrite: bool) -> None:
    if not path.parent.is_dir():
        raise OptionError(f"{path.parent}: no such folder", reason="NO_SUCH_FOLDER", field="--json")
    if path.exists() and not overwrite:
        raise OptionError(
            f"{path} exists: choose another --json or pass --overwrite",
            reason="OUTPUT_EXISTS",
            field="--json",
        )


def _server_subject(client: Client, bundle: Bundle, dicom: bytes) -> Subject:
    info = client.server_info()
    served, here = info.model, bundle.manifest.model
    if served.version != here.version:
        raise OptionError(
            f"the server runs {served.name} {served.version} and the bundle holds {here.name} {here.version}: "
            "start lvseg-serve with this bundle",
            reason="OTHER_MODEL",
            field="--server",
        )
    return Subject(
        engine=f"{served.engine} via gRPC",
        precision=served.precision,
        batch=1,
        threads=info.threads,
        call=partial(client.segment, dicom),
    )


def _phantom() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), patients=1, seed=0)
        return find_dicom([Path(folder)])[0].read_bytes()


def _print(rows: Sequence[Row]) -> None:
    table = Table()
    for column in ("engine", "precision"):
        table.add_column(column, no_wrap=True)
    for column in (
        "batch",
        "threads",
        "load_ms",
        "first_ms",
        "p50_ms",
        "p90_ms",
        "p99_ms",
        "slices/s",
        "ratio",
        "Dice",
    ):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.engine,
            row.precision,
            str(row.batch),
            str(row.threads),
            "-" if row.load_ms is None else f"{row.load_ms:.0f}",
            *(
                f"{value:.1f}"
                for value in (row.first_ms, row.p50_ms, row.p90_ms, row.p99_ms, row.slices_per_s)
            ),
            f"{row.ratio:.2f}",
            "-" if row.dice is None else f"{row.dice:.4f}",
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    click.echo(
        f"{rows[0].calls} calls each, one caller at a time; ratio: median time a slice by that of the first row"
    )
