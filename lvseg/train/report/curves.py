"""What happened over the epochs, as curves: in a picture, and as SVG for the page."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lvseg.train.callbacks import read_metrics
from lvseg.train.confusion import CONFUSION, Confusion, read_confusions
from lvseg.train.run import METRICS

_INK = "#0a0b0c"  # stands for the page's own colour of text, whichever that is
_PAPER = "none"
_COLOURS = ("#3b82c4", "#c2701d")  # blue and orange: told apart on white and on black, by any kind of eye


@dataclass(frozen=True)
class Progress:
    """What a run has recorded so far."""

    metrics: Sequence[Mapping[str, str]]
    """Rows of ``metrics.csv``."""
    confusions: Mapping[int, Confusion]
    """By epoch."""

    @classmethod
    def read(cls, folder: Path) -> "Progress":
        """Read a run folder."""
        return cls(read_metrics(folder / METRICS), read_confusions(folder / CONFUSION))

    def column(self, name: str) -> tuple[list[int], list[float]]:
        """Return the epochs that have a figure, and the figure."""
        rows = [row for row in self.metrics if row[name]]
        return [int(row["epoch"]) for row in rows], [float(row[name]) for row in rows]


def _loss(axes: Axes, progress: Progress) -> None:
    axes.plot(*progress.column("train_loss"), color=_COLOURS[0])
    axes.set(title="training loss", ylim=(0, None))


def _scores(axes: Axes, progress: Progress) -> None:
    for name, label, colour in zip(
        ("val_dice", "val_accuracy"), ("Dice, whole slices", "pixel accuracy"), _COLOURS, strict=True
    ):
        axes.plot(*progress.column(name), color=colour, marker=".", label=label)
    axes.set(title="validation", ylim=(-0.02, 1.02))


def _rate(axes: Axes, progress: Progress) -> None:
    axes.plot(*progress.column("learning_rate"), color=_COLOURS[0])
    axes.set(title="learning rate", ylim=(0, None))


def _classes(axes: Axes, progress: Progress) -> None:
    for name, colour in zip(("sensitivity", "precision"), _COLOURS, strict=True):
        shares = {epoch: getattr(confusion, name) for epoch, confusion in progress.confusions.items()}
        known = {epoch: share for epoch, share in shares.items() if share is not None}
        axes.plot(list(known), list(known.values()), color=colour, marker=".", label=name)
    axes.set(title="pixels of the ventricle, validation", ylim=(-0.02, 1.02))


Panel = Callable[[Axes, Progress], None]

CURVES: Sequence[Panel] = (_loss, _scores, _rate)
CLASSES: Panel = _classes


def draw_curves(progress: Progress, path: Path) -> None:
    """Draw all curves into one picture."""
    figure = Figure(figsize=(11, 7), layout="constrained")
    for panel, axes in zip((*CURVES, CLASSES), figure.subplots(2, 2).flat, strict=True):
        _draw(panel, axes, progress)
    figure.savefig(path, dpi=120)


def svg(panel: Panel, progress: Progress) -> str:
    """Return one set of curves as an SVG element whose text and axes have the colour of the text around it."""
    ink = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "grid.color")
    # Text stays text; a fixed salt gives the same page for the same run.
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": panel.__name__, "font.size": 9}
    with mpl.rc_context(settings | dict.fromkeys(ink, _INK)):
        figure = Figure(figsize=(5.2, 3), layout="constrained", facecolor=_PAPER)
        axes = figure.subplots()
        axes.set_facecolor(_PAPER)
        _draw(panel, axes, progress)
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :].replace(_INK, "currentColor")


def _draw(panel: Panel, axes: Axes, progress: Progress) -> None:
    panel(axes, progress)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    if len(axes.lines) > 1:
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)  # off the curves
