"""The page report.html: one file that holds all it shows, and asks for nothing."""

import base64
import dataclasses
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import torch
from markupsafe import Markup
from PIL import Image

from lvseg.contour import Mask
from lvseg.data.labelled import LabelledImage
from lvseg.evaluation import WAYS, Evaluation, SliceResult
from lvseg.metrics import dice
from lvseg.overlay import overlay
from lvseg.resample import to_working
from lvseg.train.confusion import Confusion
from lvseg.train.history import Masks, read_history
from lvseg.train.options import TrainOptions
from lvseg.train.recipes import Recipe, find_recipe
from lvseg.train.report.curves import CLASSES, CURVES, Progress, svg
from lvseg.train.report.layers import BINS, Statistics, activations, parameters, weights
from lvseg.train.run import TrainedRun
from lvseg.train.views import spread_over_areas, ventricle_view
from lvseg.whole_files import whole_file

REPORT = Path("report.html")

_WORST = 8  # slices shown whole
_WHOLE_SIDE = 384  # px
_MEASURES = (
    ("dice", "Dice", 3),
    ("apd_mm", "average perpendicular distance, mm", 2),
    ("hausdorff_mm", "Hausdorff distance, mm", 2),
    ("area_error_percent", "area error, %", 1),
    ("absolute_area_error_percent", "area error without its sign, %", 1),
    ("good_percent", "good contours, %", 0),
)


@dataclass(frozen=True)
class Change:
    """An option that differs from the recipe's."""

    option: str
    recipe: object
    run: object


@dataclass(frozen=True)
class Cell:
    """A slice at an epoch."""

    picture: str
    """A data URI."""
    dice: float


def write_page(run: TrainedRun, evaluation: Evaluation, shown: SliceResult) -> None:
    """Write ``report.html`` into the run folder.

    Args:
        run: The training.
        evaluation: Of its model on the validation slices.
        shown: Of these, the slice to follow through the layers.
    """
    options = run.record.options
    progress = Progress.read(run.folder)
    over_time = followed(evaluation)
    history = read_history(run.folder, {result.name for result in over_time})
    history[run.epoch] = {result.name: result.mask for result in over_time}
    image = shown.image.slice
    pixels = to_working(image.pixels, image.pixel_spacing, run.record.working_spacing_mm)
    page = _template().render(
        run=run,
        options=options,
        changes=changed_options(options),
        patients={
            side: sorted({name.partition("/")[0] for name in getattr(run.record, side)})
            for side in ("training", "validation")
        },
        parameters=parameters(run.model),
        minutes=sum(progress.column("seconds")[1]) / 60,
        epochs=len(progress.metrics),
        scores={way: evaluation.scores(way) for way in WAYS},
        measures=_MEASURES,
        curves=[Markup(svg(panel, progress)) for panel in CURVES],  # noqa: S704 - our own drawing
        classes=Markup(svg(CLASSES, progress)),  # noqa: S704
        confusion=sum(
            (Confusion.of(result.mask, result.image.mask) for result in evaluation.results),
            start=Confusion(),
        ),
        overlays=overlays_over_time(over_time, history),
        kept=sorted(history),
        worst=[(result, _whole(result)) for result in evaluation.worst(_WORST)],
        shown=shown,
        shown_picture=_whole(shown),
        activations=activations(run.model, torch.from_numpy(pixels)[None, None]),
        weights=weights(run.model),
    )
    with whole_file(run.folder / REPORT) as stream:
        stream.write(page.encode())


def changed_options(options: TrainOptions) -> list[Change]:
    """Return where a run's options differ from its recipe's."""
    recipe = find_recipe(options.recipe)
    changes: list[Change] = []
    for field in dataclasses.fields(Recipe):
        theirs, ours = getattr(recipe, field.name), getattr(options, field.name)
        if dataclasses.is_dataclass(theirs):
            changes += (
                Change(f"{field.name}: {part.name}", getattr(theirs, part.name), getattr(ours, part.name))
                for part in dataclasses.fields(theirs)
                if getattr(theirs, part.name) != getattr(ours, part.name)
            )
        elif theirs != ours:
            changes.append(Change(field.name, theirs, ours))
    return changes


def followed(evaluation: Evaluation) -> list[SliceResult]:
    """Return the slices to show over time: the smallest, median and largest ventricle, and the worst slice."""
    images = spread_over_areas([result.image for result in evaluation.results])
    names = dict.fromkeys((*(image.name for image in images), evaluation.worst(1)[0].name))
    results = {result.name: result for result in evaluation.results}
    return [results[name] for name in names]


def overlays_over_time(
    slices: Sequence[SliceResult], history: Mapping[int, Masks]
) -> list[tuple[SliceResult, dict[int, Cell]]]:
    """Return slices, each with what the model found at the epochs kept."""
    return [
        (
            result,
            {
                epoch: _cell(result.image, masks[result.name])
                for epoch, masks in sorted(history.items())
                if result.name in masks
            },
        )
        for result in slices
    ]


def _cell(image: LabelledImage, mask: Mask) -> Cell:
    return Cell(photograph(ventricle_view(image, mask)), dice(mask, image.mask))


def _whole(result: SliceResult) -> str:
    picture = overlay(
        result.image.slice.pixels,
        mask=result.mask,
        contour=result.image.contour,
        fill=0.15,
        shortest_side=_WHOLE_SIDE,
    )
    picture.thumbnail((_WHOLE_SIDE, _WHOLE_SIDE), Image.Resampling.LANCZOS)
    return photograph(picture)


def photograph(picture: Image.Image) -> str:
    """Return a picture as a data URI, small rather than exact; coloured lines stay sharp."""
    return _data_uri(picture, "jpeg", quality=82, subsampling=0)


def drawing(picture: Image.Image) -> str:
    """Return a picture as a data URI, every pixel as it is."""
    return _data_uri(picture, "png", optimize=True)


def _data_uri(picture: Image.Image, kind: str, **options: object) -> str:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"


def histogram_path(statistics: Statistics) -> str:
    """Return a histogram as an SVG path, 1 wide and 1 high for each bar, counts on a logarithmic scale."""
    heights = torch.from_numpy(statistics.counts).double().log1p()
    heights /= heights.max()
    bars = (f"M{place} 1V{1 - height:.3f}h1V1" for place, height in enumerate(heights.tolist()))
    return "".join(bars)


def number(value: float) -> str:
    """Return a number in four digits, for a table."""
    return "0" if value == 0 else f"{value:.4g}"


def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lvseg.train.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        {
            "drawing": drawing,
            "histogram": histogram_path,
            "number": number,
            "shape": lambda shape: " x ".join(map(str, shape)),
            "thousands": lambda count: f"{count:,}",
            "percent": lambda share: "-" if share is None else f"{100 * share:.1f} %",
        }
    )
    environment.globals["bins"] = BINS
    return environment.get_template("report.html")
