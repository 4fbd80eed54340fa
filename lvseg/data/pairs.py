"""Show what a network is taught: pictures of slices with their labels, and a table of all of them."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

from lvseg.data.labelled import LabelledImage
from lvseg.data.layout import case_order
from lvseg.data.split import Split
from lvseg.overlay import overlay

PAIRS_FILE = "pairs.csv"
CONTACT_SHEET = "contact-sheet.png"

_COLUMNS = (
    "patient",
    "number",
    "set",
    "image",
    "label",
    "epicardium",
    "rows",
    "columns",
    "row_spacing_mm",
    "column_spacing_mm",
    "trigger_time_ms",
    "area_mm2",
    "share",
)
_GAP = 4  # px
_TILE = 384  # px, of the contact sheet
_CAPTION_HEIGHT = 22  # px


def write_pairs(folder: Path, split: Split[LabelledImage], *, pictures: int) -> int:
    """Write a table of all labelled slices, pictures of some of them, and one sheet of these.

    Args:
        folder: An existing folder.
        split: The slices.
        pictures: How many slices to picture at most; they are spread evenly over the data set.

    Returns:
        How many slices are pictured.
    """
    part_of = {image.name: "training" for image in split.training}
    images = sorted(
        (*split.training, *split.validation),
        key=lambda image: (case_order(image.patient), image.sample.number, image.name),
    )
    with (folder / PAIRS_FILE).open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(_COLUMNS)
        table.writerows(_row(image, part_of.get(image.name, "validation")) for image in images)
    chosen = [images[index] for index in _spread(len(images), pictures)]
    tiles = []
    for image in chosen:
        picture, label, outlined = _panels(image)
        _grid([picture, label, outlined], columns=3).save(folder / f"{image.name.replace('/', '_')}.png")
        tiles.append(_captioned(ImageOps.contain(outlined, (_TILE, _TILE)), image.name))
    _grid(tiles, columns=math.ceil(math.sqrt(len(tiles)))).save(folder / CONTACT_SHEET)
    return len(chosen)


def _row(image: LabelledImage, part: str) -> tuple[object, ...]:
    rows, columns = image.mask.shape
    return (
        image.patient,
        image.sample.number,
        part,
        image.sample.image,
        image.sample.label,
        image.sample.epicardium,
        rows,
        columns,
        *image.slice.pixel_spacing,
        image.slice.trigger_time_ms,
        f"{image.area_mm2:.2f}",
        f"{image.share:.6f}",
    )


def _spread(count: int, wanted: int) -> list[int]:
    """Return up to ``wanted`` of the indices below ``count``, evenly from the first to the last."""
    return [round(float(index)) for index in np.linspace(0, count - 1, min(count, wanted))]


def _panels(image: LabelledImage) -> tuple[Image.Image, Image.Image, Image.Image]:
    """Return the slice, its mask in white, and the slice with the expert's contour, in one size."""
    picture = overlay(image.slice.pixels).convert("RGB")
    outlined = overlay(image.slice.pixels, contour=image.contour).convert("RGB")
    label = Image.fromarray(np.where(image.mask, 255, 0).astype(np.uint8)).convert("RGB")
    return picture, label.resize(picture.size, Image.Resampling.NEAREST), outlined


def _captioned(picture: Image.Image, caption: str) -> Image.Image:
    canvas = Image.new("RGB", (picture.width, picture.height + _CAPTION_HEIGHT))
    canvas.paste(picture, (0, _CAPTION_HEIGHT))
    font = ImageFont.load_default(_CAPTION_HEIGHT - 5)
    ImageDraw.Draw(canvas).text((_GAP, 1), caption, font=font, fill="white")
    return canvas


def _grid(tiles: Sequence[Image.Image], *, columns: int) -> Image.Image:
    """Lay tiles of any size out in rows, each in a cell that fits the largest."""
    width = max(tile.width for tile in tiles) + _GAP
    height = max(tile.height for tile in tiles) + _GAP
    rows = math.ceil(len(tiles) / columns)
    canvas = Image.new("RGB", (columns * width - _GAP, rows * height - _GAP), "dimgrey")
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        canvas.paste(tile, (column * width, row * height))
    return canvas
