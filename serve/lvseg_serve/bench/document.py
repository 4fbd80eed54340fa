"""A benchmark as JSON, written and read back."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvseg.errors import OptionError
from lvseg.whole_files import whole_file
from lvseg_serve.bench.rows import Failure, Key, Row

FORMAT = "lvseg-bench 2"
"""Goes up when a figure of the same name comes to mean something else."""

_DECIMALS = 4  # of a millisecond: a tenth of a microsecond
_DERIVED = ("p50_ms", "p90_ms", "p99_ms", "max_ms", "slices_per_s", "gflop_per_s", "peak_share")


@dataclass(frozen=True, kw_only=True)
class Former:
    """What a comparison needs of a benchmark that was written."""

    conditions: Mapping[str, Any]
    """What its figures depend on: environment, model and slice, by dotted name."""
    p50_ms: Mapping[Key, float]


def to_document(
    rows: Sequence[Row], failures: Sequence[Failure], *, ratio_to: str, about: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return all figures as JSON values.

    Args:
        rows: What was measured.
        failures: What could not be.
        ratio_to: What the ratios are to, for people.
        about: What the figures depend on: ``environment``, ``model``, ``slice``.
    """
    return {
        "format": FORMAT,
        **about,
        "ratio_to": ratio_to,
        "rows": [_row(row) for row in rows],
        "failures": [dataclasses.asdict(failure) for failure in failures],
    }


def write_document(document: Mapping[str, Any], path: Path) -> None:
    """Write it, whole or not at all."""
    with whole_file(path) as stream:
        stream.write((json.dumps(document, indent=2, allow_nan=False) + "\n").encode())


def read_document(path: Path) -> Former:
    """Read what a comparison needs.

    Raises:
        OptionError: If the file is not JSON, or not what this lvseg-bench writes.
    """
    try:
        document = json.loads(path.read_bytes())
    except ValueError as error:
        raise _foreign(path, "is not JSON") from error
    found = document.get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise _foreign(path, f"has format {found!r}, expected {FORMAT!r}")
    try:
        return former(document)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise _foreign(path, f"does not have the fields of {FORMAT} ({error})") from error


def former(document: Mapping[str, Any]) -> Former:
    """Return what a comparison needs of a document.

    Raises:
        KeyError: If something is missing.
        TypeError: If something is of another type.
        ValueError: If a median is no number above 0.
    """
    return Former(
        conditions={
            f"{part}.{name}": value
            for part in ("environment", "model", "slice")
            for name, value in document[part].items()
        },
        p50_ms={
            Key(*(row[name] for name in Key._fields)): _positive(row["p50_ms"]) for row in document["rows"]
        },
    )


def _row(row: Row) -> dict[str, Any]:
    return {
        **dataclasses.asdict(row.subject),
        "calls": len(row.latencies_ms),
        **{name: getattr(row, name) for name in _DERIVED},
        "ratio": row.ratio,
        "split": row.split._asdict() if row.split else None,
        "stages": dataclasses.asdict(row.stages) if row.stages else None,
        "errors": dict(row.errors),
        "latencies_ms": [round(latency, _DECIMALS) for latency in row.latencies_ms],
    }


def _positive(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"a median of {value} ms")
    return value


def _foreign(path: Path, fault: str) -> OptionError:
    return OptionError(
        f"{path} {fault}; give a file that --json of this lvseg-bench wrote",
        reason="NOT_A_BENCHMARK",
        field="--compare",
        expected=FORMAT,
    )
