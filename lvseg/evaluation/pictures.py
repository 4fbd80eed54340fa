"""An evaluation as pictures: how the areas agree, and the worst slices."""

import math
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from lvseg.evaluation.evaluation import Evaluation
from lvseg.evaluation.results import SliceResult
from lvseg.overlay import CONTOUR_COLOUR, MASK_COLOUR, overlay, window_around

WORST_SLICES = 12
"""How many slices the gallery shows at most."""

_MOST_COLOURS = 10  # of matplotlib's default cycle; beyond, patients could not be told apart
_COLUMNS = 4
_TILE_INCHES = 3.0
_MARGIN = 12  # px of the slice around what is outlined
_SMALLEST_SIDE = 96  # px of the slice
_FILL = 0.3


def draw_bland_altman(evaluation: Evaluation, path: Path) -> None:
    """Draw the difference of each slice's areas over their mean, with bias and limits of agreement, in cm²."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    patients = evaluation.patients
    many = len(patients) > _MOST_COLOURS
    for index, patient in enumerate(patients):
        colour = "C0" if many else f"C{index}"
        for missed, marker in ((False, "o"), (True, "x")):
            chosen = [result for result in patient.results if result.missed == missed]
            axes.scatter(
                [(result.area_mm2 + result.expert_area_mm2) / 200 for result in chosen],
                [result.area_error_mm2 / 100 for result in chosen],
                color=colour,
                marker=marker,
                s=22,
                label=None if many or missed else patient.patient,
            )
    axes.axhline(0, color="tab:grey", linewidth=0.8)
    _draw_limits(axes, evaluation)
    axes.set(
        xlabel="mean of automatic and expert area, cm²",
        ylabel="automatic less expert area, cm²",
        title=f"Areas of {len(evaluation.results)} slices of {len(patients)} patient{'s' * (len(patients) != 1)}"
        + (", x: nothing found" if any(result.missed for result in evaluation.results) else ""),
    )
    axes.grid(alpha=0.3)
    if not many:
        figure.legend(loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=120)


def _draw_limits(axes: Axes, evaluation: Evaluation) -> None:
    areas = evaluation.areas
    lines = (
        ("bias", areas.bias_mm2, "-"),
        ("+1.96 SD", areas.upper_limit_mm2, "--"),
        ("-1.96 SD", areas.lower_limit_mm2, "--"),
    )
    for name, value, style in lines:
        if value is None:
            continue
        axes.axhline(value / 100, color="black", linestyle=style, linewidth=1)
        axes.annotate(
            f"{name} {value / 100:+.2f}",
            (1, value / 100),
            xycoords=axes.get_yaxis_transform(),
            xytext=(-4, 3),
            textcoords="offset points",
            ha="right",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.7, "pad": 1},
        )


def draw_gallery(evaluation: Evaluation, path: Path, *, slices: int = WORST_SLICES) -> None:
    """Draw the worst slices, the lowest Dice first: the mask filled in amber, the expert's contour in blue.

    Each is cut to what the mask and the expert outline, with a margin; a far-off false find is therefore in it.
    """
    worst = evaluation.worst(slices)
    columns = min(_COLUMNS, len(worst))
    rows = math.ceil(len(worst) / columns)
    figure = Figure(
        figsize=(max(2, columns) * _TILE_INCHES, rows * (_TILE_INCHES + 0.5) + 0.6), layout="constrained"
    )
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for rank, (axes, result) in enumerate(zip(grid.flat, worst, strict=False), start=1):
        _draw_slice(axes, result)
        axes.set_title(_caption(rank, result), fontsize=9)
    figure.legend(
        handles=[
            Patch(color=_fraction(MASK_COLOUR), alpha=0.7, label="automatic mask"),
            Line2D([], [], color=_fraction(CONTOUR_COLOUR), label="expert's contour"),
        ],
        loc="outside upper center",
        ncols=2,
        frameon=False,
    )
    figure.savefig(path, dpi=120)


def _draw_slice(axes: Axes, result: SliceResult) -> None:
    window = _window(result)
    picture = overlay(result.image.slice.pixels[window], mask=result.mask[window], fill=_FILL)
    down, right = window
    corners = (right.start - 0.5, right.stop - 0.5, down.stop - 0.5, down.start - 0.5)
    axes.imshow(np.asarray(picture), extent=corners)
    # Drawn here and not by the overlay, so that it keeps its width when the overlay shrinks to a tile.
    outline = np.vstack((result.image.contour, result.image.contour[:1]))
    axes.plot(*outline.T, color=_fraction(CONTOUR_COLOUR), linewidth=1.2)


def _window(result: SliceResult) -> tuple[slice, slice]:
    """Return the square of the slice that holds mask and contour, as large as fits: (rows, columns)."""
    inside = np.argwhere(result.mask)[:, ::-1]  # (x, y)
    points = np.vstack((inside, result.image.contour))
    low, high = np.floor(points.min(axis=0)) - _MARGIN, np.ceil(points.max(axis=0)) + _MARGIN + 1
    side = max(_SMALLEST_SIDE, int((high - low).max()))
    return window_around((low + high) / 2, side, result.image.slice.pixels.shape)


def _caption(rank: int, result: SliceResult) -> str:
    distance = "nothing found" if result.apd_mm is None else f"APD {result.apd_mm:.1f} mm"
    phase = f" {result.phase}" if result.phase else ""
    return f"{rank}. {result.name}{phase}\nDice {result.dice:.3f}, {distance}"


def _fraction(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = (channel / 255 for channel in colour)
    return red, green, blue
