"""What a finished training leaves for people: curves, a table of the validation slices, overlays."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from lvseg.data.sunnybrook import LabelledImage
from lvseg.metrics import Agreement, compare
from lvseg.overlay import overlay
from lvseg.train.callbacks import read_metrics
from lvseg.train.run import METRICS, TrainedRun
from lvseg.train.task import SegmentationTask


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How a model does on the validation slices, each whole and each counted: a missed ventricle is Dice 0."""

    slices: int
    dice: float
    """Mean over all slices."""
    apd_mm: float | None
    """Mean over the slices on which the model finds anything."""
    good_percent: float
    """Share of all slices whose contour is within 5 mm APD of the expert's."""


def mean_scores(agreements: Sequence[Agreement]) -> Scores:
    """Return the means over slices."""
    distances = [agreement.apd_mm for agreement in agreements if agreement.apd_mm is not None]
    return Scores(
        slices=len(agreements),
        dice=float(np.mean([agreement.dice for agreement in agreements])),
        apd_mm=float(np.mean(distances)) if distances else None,
        good_percent=100.0 * float(np.mean([agreement.good for agreement in agreements])),
    )


def write_report(run: TrainedRun, validation: Sequence[LabelledImage]) -> Scores:
    """Write curves.png, validation.csv and an overlay for each validation slice into the run folder."""
    draw_curves(run.folder / METRICS, run.folder / "curves.png")
    overlays = run.folder / "overlays"
    overlays.mkdir(exist_ok=True)
    task = SegmentationTask(
        run.model, run.record.options, working_spacing_mm=run.record.working_spacing_mm, validation=validation
    ).eval()
    agreements = []
    with (run.folder / "validation.csv").open("w", newline="") as stream, torch.inference_mode():
        writer = csv.writer(stream)
        writer.writerow(("slice", "dice", "apd_mm", "hausdorff_mm", "good"))
        for image in validation:
            mask = task.predict(image)
            agreement = compare(mask, image.contour, image.slice.pixel_spacing)
            agreements.append(agreement)
            distances = (agreement.apd_mm, agreement.hausdorff_mm)
            writer.writerow(
                (
                    image.name,
                    f"{agreement.dice:.4f}",
                    *("" if distance is None else f"{distance:.3f}" for distance in distances),
                    int(agreement.good),
                )
            )
            picture = overlay(image.slice.pixels, mask=mask, contour=image.contour)
            picture.save(overlays / f"{image.name.replace('/', '-')}.png")
    return mean_scores(agreements)


def draw_curves(metrics: Path, picture: Path) -> None:
    """Draw loss, Dice and pixel accuracy over the epochs of a ``metrics.csv``."""
    rows = read_metrics(metrics)
    validated = [row for row in rows if row["val_dice"]]
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    loss_axes = figure.subplots()
    loss_axes.plot(
        [int(row["epoch"]) for row in rows],
        [float(row["train_loss"]) for row in rows],
        color="tab:grey",
        label="training loss",
    )
    loss_axes.set(xlabel="epoch", ylabel="training loss (cross-entropy + soft Dice)", ylim=(0, None))
    score_axes = loss_axes.twinx()
    epochs = [int(row["epoch"]) for row in validated]
    for column, label, colour in (
        ("val_dice", "validation Dice, whole slices", "tab:blue"),
        ("val_accuracy", "validation pixel accuracy", "tab:green"),
    ):
        score_axes.plot(
            epochs, [float(row[column]) for row in validated], color=colour, marker=".", label=label
        )
    score_axes.set(ylabel="validation score", ylim=(0, 1.02))
    score_axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    figure.savefig(picture, dpi=120)
