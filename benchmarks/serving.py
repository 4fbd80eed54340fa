"""Compare lvseg-serve with a plain grpcio server and with other servers that do the same work, in turn in one run.

python benchmarks/serving.py [--images DIR] [--peer-environments DIR] [--lvseg OPTIONS] [--json FILE]

DICOM in; mask as PNG, contour and area out. All serve the same ONNX file on ONNX Runtime, with one thread for each
call and none that spins, on loopback ports of this machine, where the clients are too. docs/benchmarks.md says more.
"""

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from serving_bench.environments import InstallError, peer_python, versions
from serving_bench.load import LoadError
from serving_bench.measure import BareEngine, Running, measure_in_turn, start
from serving_bench.servers import PEERS, PLAIN, THIS_PYTHON, Model, Server, lvseg_serve
from serving_bench.summary import Row, engine_row, markdown, server_row
from serving_bench.tiny_bundle import MODEL, write_tiny_bundle

from lvseg.cli import Command, notice
from lvseg.data.files import find_dicom
from lvseg.data.phantom import write_phantoms
from lvseg_export.bundle import load_bundle
from lvseg_export.shipped import SHIPPED
from lvseg_serve.bench.environment import environment

MODELS = ("tiny", "shipped")
PRECISION = "int8"


@click.command(cls=Command)
@click.option(
    "--images",
    type=click.Path(exists=True, path_type=Path),
    help="Folder with DICOM slices; phantoms without.",
)
@click.option(
    "--slices",
    type=click.IntRange(1),
    default=8,
    show_default=True,
    help="How many of them, evenly over the folder.",
)
@click.option(
    "--model", "models", type=click.Choice(MODELS), multiple=True, default=MODELS, show_default=True
)
@click.option(
    "--lvseg",
    "variants",
    multiple=True,
    default=("",),
    help="Options of lvseg-serve; a row for each.  [default: none]",
)
@click.option(
    "--peer-environments",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the peers' virtual environments; they are left out without.",
)
@click.option(
    "--peer", "peers", type=click.Choice(list(PEERS)), multiple=True, default=tuple(PEERS), show_default=True
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=len(os.sched_getaffinity(0)),
    help="Threads or processes of the others.  [default: CPUs]",
)
@click.option("--clients", type=click.IntRange(2), default=16, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=5, show_default=True)
@click.option("--alone-s", type=float, default=2.0, show_default=True, help="Of one client, in each round.")
@click.option(
    "--together-s", type=float, default=3.0, show_default=True, help="Of all clients, in each round."
)
@click.option("--json", "json_path", type=click.Path(dir_okay=False, path_type=Path))
def main(
    images: Path | None,
    slices: int,
    models: Sequence[str],
    variants: Sequence[str],
    peer_environments: Path | None,
    peers: Sequence[str],
    json_path: Path | None,
    **options: Any,
) -> None:
    """Print a table for each model."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # as Ctrl-C does: the servers end too
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        dicoms = read_slices(images, slices, folder)
        found, failures = find_servers(variants, peers, peer_environments)
        document: dict[str, Any] = {
            "environment": environment(1),
            "options": {
                **options,
                "slices": len(dicoms),
                "images": "phantoms" if images is None else "given",
            },
            "versions": {server.name: versions(python, server.packages) for server, python in found},
        }
        for model in [find_model(name, folder) for name in models]:
            rows = [*asyncio.run(compare(model, found, dicoms, folder, **options)), *failures]
            document[model.name] = rows
            click.echo(f"\n{model.name}, {len(dicoms)} slices, {options['rounds']} rounds\n")
            click.echo(markdown(rows, options["clients"]))
            click.echo(_aside(rows))
    click.echo("\n" + "\n".join(f"{server}: {text}" for server, text in document["versions"].items()))
    if json_path is not None:
        json_path.write_text(json.dumps(document, indent=2) + "\n")


def read_slices(images: Path | None, wanted: int, folder: Path) -> list[bytes]:
    """Return DICOM files, evenly over those of a folder; of phantoms where none is given."""
    if images is None:
        images = folder / "phantoms"
        write_phantoms(images, patients=1, seed=0)
    files = find_dicom([images])
    if not files:
        raise click.UsageError(f"--images: {images} holds no DICOM file")
    chosen = np.linspace(0, len(files) - 1, min(wanted, len(files))).round().astype(int)
    return [files[index].read_bytes() for index in chosen]


def find_servers(
    variants: Sequence[str], peers: Sequence[str], environments: Path | None
) -> tuple[list[tuple[Server, Path]], list[Row]]:
    """Return the servers with the interpreter of each, and a row for each peer that cannot be installed."""
    found = [(PLAIN, THIS_PYTHON), *((lvseg_serve(options), THIS_PYTHON) for options in variants)]
    if environments is None:
        return found, []
    failures: list[Row] = []
    for name in peers:
        server = PEERS[name]
        notice(f"{server.name}: looking for its environment, or making it")
        try:
            found.append((server, peer_python(environments / name, server.requirements)))
        except InstallError as error:
            failures.append({"server": server.name, "protocol": server.protocol, "failure": str(error)})
    return found, failures


def find_model(name: str, folder: Path) -> Model:
    """Return the model that comes with lvseg, or one that takes next to no time."""
    shipped = load_bundle(SHIPPED)
    spacing_mm = shipped.manifest.input.working_spacing_mm
    if name == "shipped":
        (file,) = (each.file for each in shipped.manifest.engines if each.precision == PRECISION)
        return Model(
            f"{shipped.manifest.model.name} {PRECISION}", SHIPPED, SHIPPED / file, PRECISION, spacing_mm, True
        )
    bundle = folder / "tiny"
    bundle.mkdir()
    write_tiny_bundle(bundle, spacing_mm)
    return Model("a model of next to no time", bundle, bundle / MODEL, "fp32", spacing_mm, False)


async def compare(
    model: Model,
    servers: Sequence[tuple[Server, Path]],
    dicoms: Sequence[bytes],
    folder: Path,
    *,
    workers: int,
    clients: int,
    rounds: int,
    alone_s: float,
    together_s: float,
) -> list[Row]:
    """Return a row for each server, and one for the bare engine."""
    running: list[Running] = []
    rows: list[Row] = []
    try:
        for server, python in servers:
            notice(f"{model.name}: starting {server.name}")
            log = folder / f"log-{len(running)}-{len(rows)}"
            try:
                running.append(await start(server, python, model, dicoms, workers=workers, log=log))
            except LoadError as error:
                rows.append({"server": server.name, "protocol": server.protocol, "failure": str(error)})
        engine = BareEngine(model, dicoms) if model.beside_engine else None
        notice(f"{model.name}: {rounds} rounds of {len(running)} servers")
        await measure_in_turn(
            running,
            engine,
            clients=clients,
            rounds=rounds,
            alone_s=alone_s,
            together_s=together_s,
            workers=workers,
        )
        plain = next(one for one in running if one.server is PLAIN)
        rows = [*(server_row(one, plain, engine) for one in running), *rows]
        return rows if engine is None else [*rows, engine_row(engine, workers)]
    finally:
        for one in running:
            one.process.stop()


def _aside(rows: Sequence[Row]) -> str:
    """Return what the table has no room for."""
    measured = [row for row in rows if "client_cpu_ms" in row]
    lines = [
        f"{row['server']}: clients took {row['client_cpu_ms']:.2f} ms of CPU a slice, "
        f"the server {row['alone_cpu_ms']:.1f} with 1 client; idle it took {row['idle_cpu_percent']:.1f}% of a CPU; "
        f"{row['calls']} and {row['together_calls']} slices"
        for row in measured
    ]
    return "\n" + "\n".join(lines)


if __name__ == "__main__":
    main()
