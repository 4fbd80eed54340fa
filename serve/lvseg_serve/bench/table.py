"""A benchmark for people: tables that fit a terminal."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lvseg_serve.bench.compare import Comparison, Pair
from lvseg_serve.bench.loops import errors_text
from lvseg_serve.bench.rows import THROUGH_GRPC, Failure, Row

_WIDTH = 140
_TEXTS = ("engine", "through gRPC", "precision", "loop")
"""Columns that are not numbers."""


@dataclass(frozen=True)
class _Column:
    """A column of rows; one that is empty in every row is left out."""

    heading: str
    text: Callable[[Row], str]
    """Empty where a row has no such figure."""


def _number(value: float | None, digits: int, factor: float = 1.0) -> str:
    return "" if value is None else f"{value * factor:.{digits}f}"


def _ms(value: float) -> str:
    """Return milliseconds in four digits, more only where there are more before the point."""
    return f"{value:.{max(0, min(2, 3 - len(str(int(value)))))}f}"


def _stage(row: Row, name: str) -> str:
    return "" if row.stages is None else _number(getattr(row.stages, name), 1)


def _part(row: Row, name: str) -> str:
    """Return the milliseconds of a part of a GPU's call, whose transfers may be a few microseconds."""
    if row.split is None:
        return ""
    value = getattr(row.split, name)
    return f"{value:.3f}" if value < 1 else _ms(value)


_NAMES = (
    _Column("engine", lambda row: row.subject.engine),
    _Column("precision", lambda row: row.subject.precision),
)
_LATENCY = (
    _Column("p50\nms", lambda row: _ms(row.p50_ms)),
    _Column("p90\nms", lambda row: _ms(row.p90_ms)),
    _Column("p99\nms", lambda row: _ms(row.p99_ms)),
)
_ENGINES = (
    *_NAMES,
    _Column("batch", lambda row: str(row.subject.batch)),
    _Column("load\nms", lambda row: _number(row.subject.load_ms, 0)),
    _Column("first\nms", lambda row: "" if row.subject.first_ms is None else _ms(row.subject.first_ms)),
    *_LATENCY,
    _Column("up-\nload\nms", lambda row: _part(row, "upload_ms")),
    _Column("com-\npute\nms", lambda row: _part(row, "compute_ms")),
    _Column("down-\nload\nms", lambda row: _part(row, "download_ms")),
    _Column("slices\n/s", lambda row: _number(row.slices_per_s, 1)),
    _Column("ratio", lambda row: _number(row.ratio, 2)),
    _Column("GFLOP\n/s", lambda row: _number(row.gflop_per_s, 1)),
    _Column("of\npeak", lambda row: "" if row.peak_share is None else f"{row.peak_share:.0%}"),
    _Column("MiB", lambda row: _number(row.subject.memory_mib, 0)),
    _Column("Dice", lambda row: _number(row.subject.dice, 4)),
)
_SERVERS = (
    _Column("through gRPC", lambda row: row.subject.engine.removesuffix(THROUGH_GRPC)),
    _Column("precision", lambda row: row.subject.precision),
    _Column("loop", lambda row: row.subject.loop),
    _Column("answers", lambda row: str(len(row.latencies_ms))),
    *_LATENCY,
    _Column("max\nms", lambda row: _ms(row.max_ms)),
    _Column("slices\n/s", lambda row: _number(row.slices_per_s, 1)),
    _Column("ratio", lambda row: _number(row.ratio, 2)),
    _Column("decode\nms", lambda row: _stage(row, "decode_ms")),
    _Column("resample\nms", lambda row: _stage(row, "resample_ms")),
    _Column("inference\nms", lambda row: _stage(row, "inference_ms")),
    _Column("post\nms", lambda row: _stage(row, "postprocess_ms")),
    _Column("rest\nms", lambda row: _stage(row, "rest_ms")),
)


def console() -> Console:
    """Return where tables go; into a file they are as wide as the widest of them."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH, highlight=False)


def print_measured(rows: Sequence[Row], failures: Sequence[Failure], *, ratio_to: str, to: Console) -> None:
    """Print engines, servers and what failed; what needs words stands below."""
    engines = [row for row in rows if row.stages is None]
    servers = [row for row in rows if row.stages is not None]
    if engines or failures:
        to.print(_table(_ENGINES, engines, failures))
    if servers:
        to.print(_table(_SERVERS, servers))
    for row in rows:
        if row.errors:
            failed, calls = sum(row.errors.values()), sum(row.errors.values()) + len(row.latencies_ms)
            _say(to, f"{row.subject.key}: {failed} of {calls} calls failed: {errors_text(row.errors)}")
    for failure in failures:
        _say(to, f"{failure.engine} {failure.precision}: not measured: {failure.reason}")
    counts = (("engines", engines), ("server", servers))
    threads = [f"{name} {_threads(some)}" for name, some in counts if some]
    _say(to, f"threads a call: {', '.join(threads)}")
    if any(row.ratio is not None for row in rows):
        _say(to, f"ratio: median over the rounds of the time a slice by that of {ratio_to}")


def _threads(rows: Sequence[Row]) -> str:
    return " or ".join(map(str, sorted({row.subject.threads for row in rows})))


def print_comparison(comparison: Comparison, former: str, *, to: Console) -> None:
    """Print the ratios of the rows that both have, and what stands in their way.

    Args:
        comparison: What to print.
        former: What the old one is called.
        to: Where to.
    """
    table = _empty("engine", "precision", "batch", "threads", "loop", "old p50\nms", "new p50\nms", "new/old")
    for pair in comparison.pairs:
        table.add_row(*_pair_cells(pair))
    if comparison.pairs:
        to.print(table)
    for key in comparison.only_old:
        _say(to, f"only in {former}: {key}")
    for key in comparison.only_new:
        _say(to, f"not in {former}: {key}")
    if comparison.differing:
        _say(to, f"not measured alike, these differ: {', '.join(comparison.differing)}")


def _pair_cells(pair: Pair) -> list[str]:
    key = pair.key
    names = (key.engine, key.precision, str(key.batch), str(key.threads), key.loop)
    return [*map(escape, names), _ms(pair.old_ms), _ms(pair.new_ms), f"{pair.ratio:.2f}"]


def _table(columns: Sequence[_Column], rows: Sequence[Row], failures: Sequence[Failure] = ()) -> Table:
    shown = [column for column in columns if column in columns[:2] or any(column.text(row) for row in rows)]
    table = _empty(*(column.heading for column in shown))
    for row in rows:
        table.add_row(*(escape(column.text(row)) or "-" for column in shown))
    for failure in failures:
        dashes = ("-" for _ in shown[2:])
        table.add_row(escape(failure.engine), failure.precision, *dashes, style="dim")
    return table


def _empty(*headings: str) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, collapse_padding=True)
    for heading in headings:
        justify: Literal["left", "right"] = "left" if heading in _TEXTS else "right"
        table.add_column(heading, justify=justify, no_wrap=True, vertical="bottom")
    return table


def _say(to: Console, line: str) -> None:
    to.print(line, markup=False, soft_wrap=True)
