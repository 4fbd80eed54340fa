"""The command lvseg-bench."""

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.progress import Progress

from lvseg.cli import Command, progress
from lvseg.dicom import Slice, read_slice
from lvseg.errors import missing_extra
from lvseg_export import cpu
from lvseg_export.bundle import Bundle
from lvseg_export.shipped import named_bundle
from lvseg_serve.bench.compare import compare
from lvseg_serve.bench.document import former, read_document, to_document, write_document
from lvseg_serve.bench.engines import engine_callees, load_engines
from lvseg_serve.bench.environment import environment
from lvseg_serve.bench.known import find_known, labelled_images
from lvseg_serve.bench.options import BenchOptions, bench_options
from lvseg_serve.bench.rounds import describe_reference, measure
from lvseg_serve.bench.rows import Failure, Result, Row, none_measured
from lvseg_serve.bench.server import measure_under, server_callee, server_subject
from lvseg_serve.bench.slice import DEFAULT_SIZE, Stack, phantom_dicom, stacks_of
from lvseg_serve.bench.sources import Source, bundle_sources, run_source
from lvseg_serve.bench.table import console, print_comparison, print_measured
from lvseg_serve.client import Client


@click.command(cls=Command)
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@bench_options
def main(bundle: Path | None, **given: Any) -> None:
    """Measure how fast BUNDLE runs here: engines alone and, with --server, through gRPC.

    By default it is the model that comes with lvseg.

    All rows are measured in turn in one run, on one slice, so their ratio holds on a busy machine too. An
    engine that cannot run the bundle, or does not say what the trained model says, is told with its reason.

    \b
    Examples:
      lvseg-bench bundles/a --engine all --images sunnybrook --contours sunnybrook
      lvseg-bench bundles/a --engine all --run runs/a --batch 1,4,16 --memory --json bench.json --plot bench.png
      lvseg-bench bundles/a --server 127.0.0.1:50051 --rate 10 --seconds 30
      lvseg-bench bundles/a --engine all --compare bench.json
    """  # noqa: D301 - click's own mark for text that it shall not fold
    options = BenchOptions(**given)
    old = read_document(options.compare) if options.compare else None
    checked = named_bundle(bundle)
    # Before the benchmark itself loads the machine.
    here = environment(options.threads or cpu.usable())
    sources = _sources(checked, options)
    dicom = options.image.read_bytes() if options.image else phantom_dicom(options.size or DEFAULT_SIZE)
    slice_ = read_slice(options.image or dicom)
    stacks = stacks_of(slice_, options.batches, checked.manifest.input.working_spacing_mm)
    results = _measure(checked, options, sources, stacks, dicom)
    rows = [result for result in results if isinstance(result, Row)]
    failures = [result for result in results if isinstance(result, Failure)]
    if not rows:
        raise none_measured(failures)
    ratio_to = describe_reference([row.subject for row in rows])
    document = to_document(
        rows,
        failures,
        ratio_to=ratio_to,
        about={
            "environment": here,
            "model": dataclasses.asdict(checked.manifest.model),
            "slice": _about_slice(slice_, stacks[0]),
        },
    )
    output = console()
    print_measured(rows, failures, ratio_to=ratio_to, to=output)
    if old is not None:
        print_comparison(compare(old, former(document)), str(options.compare), to=output)
    if options.json_path:
        write_document(document, options.json_path)
    if options.plot:
        _draw(rows, checked, document["slice"], options.plot)


def _sources(bundle: Bundle, options: BenchOptions) -> list[Source]:
    sources = list(bundle_sources(bundle, options.runtime, options.precision, options.threads))
    if options.run:
        try:
            from lvseg_export.trained import require_same_weights, torch_devices
        except ModuleNotFoundError as error:
            raise missing_extra(error.name, "export", field="--run") from error
        require_same_weights(options.run, bundle)
        ways = (False, True) if options.torch_compile else (False,)
        sources += [
            run_source(options.run, compiled=compiled, device=device)
            for device in torch_devices()
            for compiled in ways
        ]
    return sources


def _measure(
    bundle: Bundle,
    options: BenchOptions,
    sources: Sequence[Source],
    stacks: Sequence[Stack],
    dicom: bytes,
) -> list[Result]:
    """Load, examine and measure everything that was asked for."""
    images, contours = options.images, options.contours
    labelled = labelled_images(images, contours) if images and contours else ()
    known = find_known(bundle, stacks[0], labelled, memory=options.memory)
    with ExitStack() as stack:
        # First of all: whoever forgot to start the server shall not wait for the engines.
        tls, token = options.access
        client = (
            stack.enter_context(Client(options.server, retry=False, tls=tls, token=token))
            if options.server
            else None
        )
        server = client and server_subject(client, bundle.manifest.model, dicom)
        display = stack.enter_context(progress())
        advance = _task(display, "loading engines", len(sources))
        engines, failures = load_engines(sources, stacks, bundle, options.threads, advance=advance)
        callees = list(engine_callees(engines, stacks, known))
        if client and server and options.pressure is None:
            callees.append(server_callee(client, server, dicom))
        rounds = _task(display, "measuring in turn", options.calls + options.warmup)
        results = measure(callees, calls=options.calls, warmup=options.warmup, advance=rounds)
        if options.server and server and options.pressure:
            advance = _task(display, f"server, {options.pressure.loop}", 1)
            results.append(measure_under(options.pressure, options.server, options.access, server, dicom))
            advance()
    return [*results, *failures]


def _task(display: Progress, what: str, steps: int) -> Callable[[], None]:
    """Show a task of so many steps, and return what is called after each."""
    task = display.add_task(what, total=steps)
    return lambda: display.advance(task)


def _about_slice(slice_: Slice, stack: Stack) -> dict[str, int]:
    rows, columns = slice_.pixels.shape
    return {
        "rows": rows,
        "columns": columns,
        "working_rows": stack.shape[2],
        "working_columns": stack.shape[3],
    }


def _draw(rows: Sequence[Row], bundle: Bundle, about_slice: dict[str, int], path: Path) -> None:
    from lvseg_serve.bench.plot import draw_latencies

    model = bundle.manifest.model
    size = "{rows} x {columns} pixels, {working_rows} x {working_columns} for the network".format(
        **about_slice
    )
    draw_latencies(rows, path, title=f"{model.name} {model.version}: a slice of {size}")
