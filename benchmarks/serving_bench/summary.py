"""What the loops of a run add up to: the JSON document and the table."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
from serving_bench.load import Loop
from serving_bench.measure import BareEngine, Running

Row = Mapping[str, Any]

COLUMNS = {
    "server": "server",
    "protocol": "protocol",
    "p50_ms": "1 client: p50 ms",
    "p90_ms": "p90 ms",
    "p99_ms": "p99 ms",
    "slices_per_s": "{clients} clients: slices/s",
    "together_p50_ms": "p50 ms",
    "together_p99_ms": "p99 ms",
    "cpu_ms": "CPU ms a slice",
    "peak_rss_mib": "peak RSS MiB",
    "pss_mib": "PSS MiB",
    "p50_to_plain": "p50 by plain",
    "slices_to_plain": "slices/s by plain",
    "p50_to_engine": "p50 by engine",
    "slices_to_engine": "slices/s by engine",
}


def server_row(one: Running, plain: Running, engine: BareEngine | None) -> Row:
    """Return what is told of a server; ratios are the median of the rounds' own."""
    said: dict[str, Any] = {"server": one.server.name, "protocol": one.server.protocol}
    if one.failure:
        return {**said, "failure": one.failure}
    peak_mib, pss_mib = one.process.memory_mib()
    return {
        **said,
        "remark": one.server.remark,
        **_latencies(one.alone, one.together),
        "alone_cpu_ms": one.alone_cpu_s * 1e3 / _count(one.alone),
        "cpu_ms": one.together_cpu_s * 1e3 / _count(one.together),
        "client_cpu_ms": sum(loop.client_cpu_s for loop in one.together) * 1e3 / _count(one.together),
        "idle_cpu_percent": one.idle_cpu_percent,
        "peak_rss_mib": peak_mib,
        "pss_mib": pss_mib,
        "p50_to_plain": _latency_ratio(one.alone, plain.alone),
        "slices_to_plain": _speed_ratio(one.together, plain.together),
        **_to_engine(one, engine),
    }


def _to_engine(one: Running, engine: BareEngine | None) -> Row:
    if engine is None:
        return {}
    return {
        "p50_to_engine": _latency_ratio(one.alone, engine.alone),
        "slices_to_engine": _speed_ratio(one.together, engine.together),
    }


def engine_row(engine: BareEngine, workers: int) -> Row:
    """Return what is told of the bare engine: with one thread, and with a thread for each CPU."""
    return {
        "server": f"bare engine, 1 and {workers} threads",
        "protocol": "-",
        **_latencies(engine.alone, engine.together),
        "cpu_ms": sum(loop.client_cpu_s for loop in engine.together) * 1e3 / _count(engine.together),
    }


def markdown(rows: Sequence[Row], clients: int) -> str:
    """Return rows as a Markdown table; servers that did not run have their reason instead of figures."""
    keys = [key for key in COLUMNS if any(key in row for row in rows)]
    lines = [
        "| " + " | ".join(COLUMNS[key].format(clients=clients) for key in keys) + " |",
        "|" + "---|" * len(keys),
    ]
    for row in rows:
        cells = [_cell(row.get(key)) for key in keys]
        if "failure" in row:
            cells[2] = row["failure"].replace("|", "/")
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, str):
        return value
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _latencies(alone: Sequence[Loop], together: Sequence[Loop]) -> Row:
    p50, p90, p99 = np.percentile(_pooled(alone), (50, 90, 99)).tolist()
    together_p50, together_p99 = np.percentile(_pooled(together), (50, 99)).tolist()
    return {
        "calls": _count(alone),
        "p50_ms": p50,
        "p90_ms": p90,
        "p99_ms": p99,
        "together_calls": _count(together),
        "slices_per_s": median(loop.slices_per_s for loop in together),
        "slices_per_s_of_rounds": [loop.slices_per_s for loop in together],
        "p50_ms_of_rounds": [median(loop.latencies_ms) for loop in alone],
        "together_p50_ms": together_p50,
        "together_p99_ms": together_p99,
    }


def _latency_ratio(ours: Sequence[Loop], others: Sequence[Loop]) -> float | None:
    pairs = zip(ours, others, strict=False)  # one that failed has fewer rounds
    return _median([median(one.latencies_ms) / median(other.latencies_ms) for one, other in pairs])


def _speed_ratio(ours: Sequence[Loop], others: Sequence[Loop]) -> float | None:
    return _median([one.slices_per_s / other.slices_per_s for one, other in zip(ours, others, strict=False)])


def _median(values: Sequence[float]) -> float | None:
    return median(values) if values else None


def _pooled(loops: Sequence[Loop]) -> list[float]:
    return [latency for loop in loops for latency in loop.latencies_ms]


def _count(loops: Sequence[Loop]) -> int:
    return sum(len(loop.latencies_ms) for loop in loops)
