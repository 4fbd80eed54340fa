"""The command lvseg-bench."""

import dataclasses
import os
from collections.abc import Sequence
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import click

from lvseg.cli import Command, notice, progress
from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.dicom import Slice, read_slice
from lvseg.errors import EngineError, OptionError
from lvseg_export.bundle import Bundle, load_bundle
from lvseg_export.engines.base import Engine
from lvseg_serve.bench.arithmetic import gflop_of_slice
from lvseg_serve.bench.compare import compare
from lvseg_serve.bench.document import former, read_document, to_document, write_document
from lvseg_serve.bench.engines import Known, Stack, engine_callees, load_engines, mean_dice
from lvseg_serve.bench.environment import environment
from lvseg_serve.bench.memory import memory_mib
from lvseg_serve.bench.options import BenchOptions, bench_options
from lvseg_serve.bench.peak import peak_gflop_per_s
from lvseg_serve.bench.rounds import describe_reference, measure
from lvseg_serve.bench.rows import Failure, Result, Row
from lvseg_serve.bench.server import measure_under, server_callee, server_subject
from lvseg_serve.bench.slice import DEFAULT_SIZE, phantom_dicom, stacks_of
from lvseg_serve.bench.sources import Source, bundle_sources, run_source
from lvseg_serve.bench.table import console, print_comparison, print_measured
from lvseg_serve.client import Client


@click.command(cls=Command)
@click.argument("bundle", type=click.Path(path_type=Path))
@bench_options
def main(bundle: Path, **given: Any) -> None:
    """Measure how fast BUNDLE runs here: engines alone and, with --server, through gRPC.

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
    checked = load_bundle(bundle)
    # Before the benchmark itself loads the machine.
    here = environment(options.threads or len(os.sched_getaffinity(0)))
    sources = _sources(checked, options)
    dicom = options.image.read_bytes() if options.image else phantom_dicom(options.size or DEFAULT_SIZE)
    slice_ = read_slice(options.image or dicom)
    stacks = stacks_of(slice_, options.batches, checked.manifest.input.working_spacing_mm)
    results = _measure(checked, options, sources, stacks, dicom)
    rows = [result for result in results if isinstance(result, Row)]
    failures = [result for result in results if isinstance(result, Failure)]
    if not rows:
        raise EngineError("; ".join(f"{failure.engine}: {failure.reason}" for failure in failures))
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
            from lvseg_serve.bench.reference import require_same_weights
        except ModuleNotFoundError as error:
            raise OptionError(
                f"{error.name} is not installed; run: pip install 'lvseg[export]'",
                reason="MISSING_EXTRA",
                field="--run",
            ) from error
        require_same_weights(options.run, bundle)
        sources.append(run_source(options.run, compiled=False))
        if options.torch_compile:
            sources.append(run_source(options.run, compiled=True))
    return sources


def _measure(
    bundle: Bundle,
    options: BenchOptions,
    sources: Sequence[Source],
    stacks: Sequence[Stack],
    dicom: bytes,
) -> list[Result]:
    """Load, examine and measure everything that was asked for."""
    with ExitStack() as stack:
        # First of all: whoever forgot to start the server shall not wait for the engines.
        client = stack.enter_context(Client(options.server)) if options.server else None
        server = client and server_subject(client, bundle.manifest.model, dicom)
        engines, failures = load_engines(sources, stacks, bundle, options.threads)
        callees = list(engine_callees(engines, stacks, _known(bundle, options, stacks[0])))
        if client and server and options.pressure is None:
            callees.append(server_callee(client, server, dicom))
        display = stack.enter_context(progress())
        task = display.add_task("measuring", total=options.calls + options.warmup)
        results: list[Result] = [
            *measure(
                callees, calls=options.calls, warmup=options.warmup, advance=lambda: display.advance(task)
            ),
            *failures,
        ]
        if options.server and server and options.pressure:
            display.add_task(f"the server, {options.pressure.loop}", total=None)
            results.append(measure_under(options.pressure, options.server, server, dicom))
    return results


def _known(bundle: Bundle, options: BenchOptions, stack: Stack) -> Known:
    spacing = bundle.manifest.input.working_spacing_mm
    labelled = _labelled(options.images, options.contours) if options.images and options.contours else ()
    gflop = gflop_of_slice(bundle, *stack.shape[2:])
    peak_of = cache(peak_gflop_per_s)  # measured once for each number of threads

    def peak(engine: Engine) -> float | None:
        # An engine elsewhere is not to be measured by what the processor can do.
        return peak_of(engine.threads) if gflop is not None and engine.name.endswith("-cpu") else None

    def memory(source: Source, engine: Engine, pixels: Stack) -> float | None:
        if not options.memory:
            return None
        try:
            return memory_mib(source, pixels.shape, engine.threads)
        except EngineError as error:
            notice(f"{engine.name} {engine.precision}: {error}")
            return None

    return Known(
        dice=lambda engine: mean_dice(engine, labelled, spacing),
        gflop=gflop,
        peak_gflop_per_s=peak,
        memory_mib=memory,
    )


def _labelled(images: Path, contours: Path) -> tuple[LabelledImage, ...]:
    """Return the slices that have a contour; how many contours cannot be used is told."""
    index = index_sunnybrook(images, contours)
    loaded = load_all(index.samples)
    left_out = len(index.problems) + len(loaded.problems)
    if left_out:
        notice(f"{left_out} contours left out, Dice is of {len(loaded.images)} slices; lvseg-data tells why")
    return loaded.images


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
