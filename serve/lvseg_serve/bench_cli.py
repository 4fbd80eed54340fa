"""The command lvseg-bench."""

import dataclasses
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from lvseg.cli import Command, progress
from lvseg.data.files import find_dicom
from lvseg.data.phantom import write_phantoms
from lvseg.dicom import Slice, read_slice
from lvseg.errors import OptionError
from lvseg.resample import to_working
from lvseg_export.bundle import Bundle, load_bundle
from lvseg_export.engines import RUNTIMES, Engine, load_engine
from lvseg_serve.address import parse_address
from lvseg_serve.bench import Row, Subject, environment, measure
from lvseg_serve.client import Client


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
@click.option(
    "--engine",
    "runtime",
    type=click.Choice(RUNTIMES),
    default="auto",
    show_default=True,
    help="What runs the model.",
)
@click.option(
    "--threads", type=click.IntRange(1), help="CPU threads for one run.  [default: all that may be used]"
)
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
    threads: int | None,
    calls: int,
    warmup: int,
    json_path: Path | None,
    overwrite: bool,
) -> None:
    """Measure how fast BUNDLE runs here: the engine alone and, with --server, through gRPC.

    All rows are measured in turn in one run, on one slice, so their ratio holds on a busy machine too.

    \b
    Example:
      lvseg-bench bundles/a --server 127.0.0.1:50051 --json bench.json
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if server:
        parse_address(server, option="--server")
    if json_path:
        _check_json(json_path, overwrite)
    checked = load_bundle(bundle)
    engine = load_engine(checked, runtime, threads=threads)
    dicom = image.read_bytes() if image else _phantom()
    slice_ = read_slice(image or dicom)
    with ExitStack() as stack:
        subjects = list(_engine_subjects(checked, engine, slice_, batches))
        if server:
            client = stack.enter_context(Client(server))
            subjects.append(_server_subject(client, checked, dicom))
        display = stack.enter_context(progress())
        task = display.add_task("measuring", total=calls + warmup)
        rows = measure(subjects, calls=calls, warmup=warmup, advance=lambda: display.advance(task))
    _print(rows)
    if json_path:
        model = dataclasses.asdict(checked.manifest.model)
        document = {
            "environment": environment(),
            "model": model,
            "rows": [dataclasses.asdict(row) for row in rows],
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


def _engine_subjects(
    bundle: Bundle, engine: Engine, slice_: Slice, batches: Sequence[int]
) -> Iterator[Subject]:
    pixels = to_working(slice_.pixels, slice_.pixel_spacing, bundle.manifest.input.working_spacing_mm)
    for batch in batches:
        stack = np.repeat(pixels[None, None], batch, axis=0)
        yield Subject(
            engine=engine.name,
            precision=engine.precision,
            batch=batch,
            threads=engine.threads,
            call=partial(engine.run, stack),
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
    for column in ("batch", "threads", "calls", "p50_ms", "p90_ms", "p99_ms", "slices/s", "ratio"):
        table.add_column(column, justify="right")
    for row in rows:
        table.add_row(
            row.engine,
            row.precision,
            str(row.batch),
            str(row.threads),
            str(row.calls),
            *(f"{value:.1f}" for value in (row.p50_ms, row.p90_ms, row.p99_ms, row.slices_per_s)),
            f"{row.ratio:.2f}",
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    click.echo("ratio: median time a slice by that of the first row; slices/s: one caller at a time")
