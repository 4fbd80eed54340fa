"""What would change if more were done with a trained model's answer: nothing is trained.

For each run of a cross-validation the patient left out is segmented as a server would, with the probabilities of
the slice and its mirror images and turns averaged, and with every part of the mask, or the largest; and in worse
pictures: in 8 bits and brighter, with another contrast, and with the cavity pressed to half its radius.

    python benchmarks/at_test_time.py RUN_OR_SERIES
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.ndimage import map_coordinates

from lvseg.contour import contour_to_mask, largest_part, mask_to_contour
from lvseg.data.augmentation import NO_AUGMENTATION
from lvseg.data.cavity import Cavity, deform_cavity
from lvseg.data.labelled import LabelledImage
from lvseg.decision import ventricle
from lvseg.evaluation import Evaluation, evaluate
from lvseg.models import SegmentationModel
from lvseg.resample import from_working, to_working
from lvseg.train.run import TrainedRun, load_run
from lvseg.train.series import SERIES_FILE, Series
from lvseg.train.training import load_images, split_images

Change = Callable[[LabelledImage], LabelledImage]
Decide = Callable[[NDArray[np.float32]], NDArray[np.bool_]]

DECISIONS: Mapping[str, Decide] = {
    "the ventricle": ventricle,
    "largest part": lambda probability: largest_part(probability > 0.5),
    "every part": lambda probability: probability > 0.5,
}


def _probability(model: SegmentationModel, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    with torch.inference_mode():
        scores = torch.softmax(model(torch.from_numpy(np.ascontiguousarray(pixels))[None, None]), dim=1)
    probability: NDArray[np.float32] = scores[0, 1].numpy()
    return probability


def _eight_views(model: SegmentationModel, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    views = []
    for turns in range(4):
        for mirrored in (False, True):
            view = np.rot90(pixels[:, ::-1] if mirrored else pixels, turns)
            back = np.rot90(_probability(model, view), -turns)
            views.append(back[:, ::-1] if mirrored else back)
    mean: NDArray[np.float32] = np.mean(views, axis=0)
    return mean


def _evaluate(
    run: TrainedRun, images: list[LabelledImage], *, views: bool = False, decide: Decide = ventricle
) -> Evaluation:
    spacing = run.record.working_spacing_mm

    def predict(image: LabelledImage) -> NDArray[np.bool_]:
        pixels = to_working(image.slice.pixels, image.slice.pixel_spacing, spacing)
        probability = (_eight_views if views else _probability)(run.model, pixels)
        return decide(from_working(probability, image.slice.pixels.shape))

    return evaluate(predict, images)


def _grey(change: Callable[[NDArray[np.float32]], NDArray[np.float64]]) -> Change:
    def changed(image: LabelledImage) -> LabelledImage:
        pixels = image.slice.pixels
        level = np.clip((pixels - pixels.min()) / (np.quantile(pixels, 0.995) - pixels.min()), 0, 1)
        slice_ = dataclasses.replace(image.slice, pixels=change(level).astype(np.float32))
        return dataclasses.replace(image, slice=slice_)

    return changed


def _small_cavity(image: LabelledImage) -> LabelledImage:
    shape = image.mask.shape
    rows, columns = np.indices(shape).astype(np.float64)
    half = dataclasses.replace(NO_AUGMENTATION, cavity_smallest=0.5, cavity_largest=0.5)
    places = deform_cavity(
        (rows, columns),
        Cavity.of(image.contour),
        np.random.default_rng(0),
        half,
        working_spacing_mm=image.slice.pixel_spacing[0],
    )
    pixels = map_coordinates(image.slice.pixels, places, order=1, mode="nearest").astype(np.float32)
    contour = mask_to_contour(map_coordinates(image.mask.astype(np.float32), places, order=1) > 0.5)
    if contour is None:
        raise ValueError(f"{image.name} has no cavity left")
    slice_ = dataclasses.replace(image.slice, pixels=pixels)
    return dataclasses.replace(image, slice=slice_, contour=contour, mask=contour_to_mask(contour, shape))


CHANGES: Mapping[str, Change] = {
    "8 bits, brighter (exponent 0.6)": _grey(lambda level: np.round(255 * level**0.6)),
    "other contrast (exponent 1.7)": _grey(lambda level: 1000 * level**1.7),
    "cavity of half the radius, thick wall": _small_cavity,
}


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(folder: Path) -> None:
    """Print Dice, APD and good contours of each, pooled over the runs of FOLDER."""
    names = list(Series.read(folder).runs) if (folder / SERIES_FILE).is_file() else ["."]
    runs = [load_run(folder / name) for name in names]
    results: dict[str, list[Evaluation]] = {}
    for run in runs:
        images = list(split_images(load_images(run.record.options), run.record.options).validation)
        for views in (False, True):
            for name, decide in DECISIONS.items():
                title = f"{'eight views' if views else 'one view'}, {name}"
                results.setdefault(title, []).append(_evaluate(run, images, views=views, decide=decide))
        for title, change in CHANGES.items():
            results.setdefault(title, []).append(_evaluate(run, [change(image) for image in images]))
    table = Table("", "Dice", "APD, mm", "good, %", *names)
    for title, evaluations in results.items():
        scores = Evaluation.of(result for one in evaluations for result in one.results).scores("honest")
        each = [f"{one.scores('honest').dice or 0:.3f}" for one in evaluations]
        apd = "-" if scores.apd_mm is None else f"{scores.apd_mm:.2f}"
        table.add_row(title, f"{scores.dice or 0:.3f}", apd, f"{scores.good_percent:.0f}", *each)
    Console().print(table)


if __name__ == "__main__":
    main()
