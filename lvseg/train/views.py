"""Small pictures of a slice around its ventricle, the same window at every epoch."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lvseg.contour import Mask
from lvseg.data.labelled import LabelledImage
from lvseg.overlay import overlay, window_around

VIEW_SIDE = 208
"""Side of a view, in pixels."""

_AROUND = 3.0  # sides of the ventricle that a view shows
_SMALLEST = 48  # px of the slice


def spread_over_areas(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Return the slices of the smallest, the median and the largest ventricle, each once."""
    ordered = sorted(images, key=lambda image: (image.area_mm2, image.name))
    chosen = {0, len(ordered) // 2, len(ordered) - 1}
    return [ordered[position] for position in sorted(chosen)]


def ventricle_view(image: LabelledImage, mask: Mask) -> Image.Image:
    """Return the slice around the expert's contour, three ventricles wide: the mask amber, the expert blue.

    Of a mask that lies elsewhere it shows nothing: say its Dice beside it.
    """
    window = _window(image)
    top_left = np.array((window[1].start, window[0].start), dtype=np.float64)
    picture = overlay(
        image.slice.pixels[window],
        mask=mask[window],
        contour=image.contour - top_left,
        fill=0.15,
        shortest_side=VIEW_SIDE,
    )
    picture.thumbnail((VIEW_SIDE, VIEW_SIDE), Image.Resampling.LANCZOS)
    return picture


def side_by_side(pictures: Sequence[Image.Image], *, gap: int = 4) -> Image.Image:
    """Return pictures in a row, on black."""
    width = sum(picture.width + gap for picture in pictures) - gap
    row = Image.new("RGB", (width, max(picture.height for picture in pictures)))
    left = 0
    for picture in pictures:
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row


def _window(image: LabelledImage) -> tuple[slice, slice]:
    """Return the window's rows and columns."""
    low, high = np.floor(image.contour.min(axis=0)), np.ceil(image.contour.max(axis=0)) + 1
    side = max(_SMALLEST, round(_AROUND * float((high - low).max())))
    return window_around((low + high) / 2, side, image.slice.pixels.shape)
