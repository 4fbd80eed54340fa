"""A benchmark as a picture: every call of every row. Importing this imports matplotlib."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from lvseg.whole_files import whole_file
from lvseg_serve.bench.rows import THROUGH_GRPC, Row

_COLOURS = ("#3b82c4", "#c2701d", "#3f8f5f", "#8a5fb0", "#6b7280")  # told apart by any kind of eye
_INK = "#1b1f24"
_MOST_DOTS = 400
_LANE = 0.27  # half the height of a row's dots, in rows
_GAP = 0.9  # between groups, in rows: their names stand in it


def draw_latencies(rows: Sequence[Row], path: Path, *, title: str) -> None:
    """Draw each row's latencies on one logarithmic axis: a dot a call, middle half, median and 99th percentile.

    Rows of one batch size stand together, and those of servers.

    Args:
        rows: At least one.
        path: The PNG file to write.
        title: Of the picture.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_group(row), []).append(row)
    engines = list(dict.fromkeys(row.subject.engine for row in rows))
    figure = Figure(figsize=(10.5, 1.3 + 0.36 * (len(rows) + _GAP * len(groups))), layout="constrained")
    axes = figure.subplots()
    places: list[float] = []
    labels: list[str] = []
    place = 0.0
    for name, members in groups.items():
        axes.text(
            -0.012,
            place,
            name,
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="center",
            weight="bold",
            color=_INK,
        )
        axes.axhline(place, color="#d5d9de", linewidth=0.8, zorder=0)
        place += _GAP
        for row in members:
            _draw_row(axes, place, row, _COLOURS[engines.index(row.subject.engine) % len(_COLOURS)])
            places.append(place)
            labels.append(_label(row))
            place += 1
    axes.set_yticks(places, labels, fontsize=9)
    axes.set_ylim(place - 0.4, -0.5)
    _scale(axes, rows)
    axes.set_title(title, loc="left", fontsize=11, weight="bold", color=_INK)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", which="major", alpha=0.35)
    axes.set_axisbelow(True)
    figure.legend(handles=_legend(), loc="outside lower right", ncols=4, frameon=False, fontsize=8.5)
    with whole_file(path) as stream:
        figure.savefig(stream, format="png", dpi=150)


def _draw_row(axes: Axes, place: float, row: Row, colour: str) -> None:
    latencies_ms = np.sort(row.latencies_ms)
    # Evenly from the fastest call to the slowest, so that many remain a cloud and do not become a bar.
    chosen = np.linspace(0, len(latencies_ms) - 1, min(len(latencies_ms), _MOST_DOTS)).round().astype(int)
    above = np.random.default_rng(0).uniform(-_LANE, _LANE, len(chosen))
    axes.scatter(latencies_ms[chosen], place + above, s=10, color=colour, alpha=0.35, linewidths=0)
    low, middle, high = np.percentile(latencies_ms, (25, 50, 75))
    axes.plot((low, high), (place, place), color=colour, linewidth=6, solid_capstyle="butt", alpha=0.9)
    axes.plot((row.p99_ms, row.p99_ms), (place - 0.2, place + 0.2), color=colour, linewidth=1.6)
    axes.plot((middle, middle), (place - 0.36, place + 0.36), color=_INK, linewidth=1.8)
    axes.annotate(
        f"{middle:.3g}" if middle < 1000 else f"{middle:.0f}",
        (middle, place - 0.28),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        va="center",
        fontsize=9,
        weight="bold",
        color=_INK,
    )


def _scale(axes: Axes, rows: Sequence[Row]) -> None:
    low = min(min(row.latencies_ms) for row in rows)
    high = max(row.max_ms for row in rows)
    axes.set_xscale("log")
    axes.set_xlim(low / 1.2, high * 1.08)
    decades = np.log10(high / low)
    steps: Sequence[float] = (1, 2, 5)
    if decades > 3:
        steps = (1,)
    elif decades < 1:
        steps = (1, 1.5, 2, 3, 4, 5, 6, 8)
    axes.xaxis.set_major_locator(LogLocator(subs=steps, numticks=40))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("latency of a call, ms", loc="left")


def _legend() -> list[Line2D]:
    grey = "#6b7280"
    return [
        Line2D([], [], marker="o", markersize=3.5, color=grey, alpha=0.5, linestyle="none", label="a call"),
        Line2D([], [], color=grey, linewidth=6, label="middle half"),
        Line2D(
            [],
            [],
            marker="|",
            markersize=12,
            color=_INK,
            markeredgewidth=1.8,
            linestyle="none",
            label="median",
        ),
        Line2D(
            [],
            [],
            marker="|",
            markersize=8,
            color=grey,
            markeredgewidth=1.6,
            linestyle="none",
            label="99th percentile",
        ),
    ]


def _group(row: Row) -> str:
    return "through gRPC" if row.stages else f"batch {row.subject.batch}"


def _label(row: Row) -> str:
    subject = row.subject
    name = f"{subject.engine.removesuffix(THROUGH_GRPC)} {subject.precision}"
    return f"{name}, {subject.loop}" if row.stages else name
