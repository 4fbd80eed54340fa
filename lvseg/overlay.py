"""Draw a slice with the outline of a mask and an expert's contour, for a person to judge."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from lvseg.contour import Mask, Points, check_contour, mask_outlines

MASK_COLOUR = (255, 196, 0)
"""Amber: the outline of the mask."""
CONTOUR_COLOUR = (0, 200, 255)
"""Light blue: the expert's contour. The two can be told apart with any kind of colour vision."""

_SHORTEST_SIDE = 768  # px; smaller slices are enlarged until they have it
_LINE_WIDTH = 1.6  # px
_FINER = 4  # lines are drawn this many times larger and averaged down, which smooths them


def overlay(
    pixels: NDArray[np.float32],
    mask: Mask | None = None,
    contour: ArrayLike | None = None,
    *,
    caption: str = "",
    fill: float = 0.0,
    shortest_side: int = _SHORTEST_SIDE,
) -> Image.Image:
    """Return a slice as an RGB picture, with the outline of a mask in amber and a contour in light blue.

    Grey levels go from black at the 1st percentile to white at the 99th. A slice smaller than
    ``shortest_side`` is enlarged by a whole factor, so that the lines are thin beside its pixels. Every component
    and hole of the mask has its outline, half-way between the pixel centres inside and outside; the
    contour lies over it, both at their place within the pixels.

    Args:
        pixels: Shape ``(rows, columns)``.
        mask: Of the same shape; bool, or integers of which those other than 0 are inside.
        contour: ``(x, y)`` = ``(column, row)`` in pixels of the slice, shape ``(N, 2)``.
        caption: A line of text for the lower left corner; nothing about the patient belongs there.
        fill: How opaque the mask's inside is: 0 shows the slice alone, 1 the colour alone.
        shortest_side: What a smaller slice is enlarged to, in pixels.

    Raises:
        ContourError: If the contour is none, or not inside the slice.
        ValueError: If ``pixels`` is not 2-D or is empty, or ``mask`` is none of its shape.
    """
    if pixels.ndim != 2 or pixels.size == 0:
        raise ValueError(f"expected a slice of shape (rows, columns), got {pixels.shape}")
    rows, columns = pixels.shape
    if mask is not None and mask.shape != pixels.shape:
        raise ValueError(f"expected a mask of the slice's shape {pixels.shape}, got {mask.shape}")
    expert = None if contour is None else check_contour(contour, (rows, columns))

    scale = math.ceil(shortest_side / min(rows, columns))
    picture = Image.fromarray(_grey_levels(pixels)).resize(
        (columns * scale, rows * scale), Image.Resampling.BICUBIC
    )
    picture = picture.convert("RGB")
    if mask is not None:
        if fill:
            opacity = Image.fromarray(np.where(mask, round(255 * fill), 0).astype(np.uint8))
            picture.paste(MASK_COLOUR, mask=opacity.resize(picture.size, Image.Resampling.NEAREST))
        for outline in mask_outlines(mask):
            _draw_polygon(picture, (outline + 0.5) * scale, MASK_COLOUR)
    if expert is not None:
        _draw_polygon(picture, (expert + 0.5) * scale, CONTOUR_COLOUR)
    if caption:
        _write_caption(picture, caption)
    return picture


def window_around(centre: NDArray[np.float64], side: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and the columns of a square of a slice, moved inside and cut where it is too large.

    Args:
        centre: ``(x, y)`` in pixels of the slice.
        side: In pixels.
        shape: ``(rows, columns)`` of the slice.
    """
    x, y = centre.tolist()
    rows, columns = shape
    return _span(y, side, rows), _span(x, side, columns)


def _span(centre: float, side: int, length: int) -> slice:
    start = max(0, min(round(centre - side / 2), length - side))
    return slice(start, min(length, start + side))


def _grey_levels(pixels: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return pixels as 0 to 255 from the 1st to the 99th percentile; a constant slice is black."""
    low, high = np.percentile(pixels, (1, 99))
    if high <= low:
        low, high = pixels.min(), pixels.max()
    if high <= low:
        return np.zeros(pixels.shape, dtype=np.uint8)
    levels = np.clip((pixels.astype(np.float64) - low) / (high - low), 0.0, 1.0)
    grey: NDArray[np.uint8] = np.rint(levels * 255).astype(np.uint8)
    return grey


def _draw_polygon(picture: Image.Image, polygon: Points, colour: tuple[int, int, int]) -> None:
    """Draw a closed polygon, its (x, y) in px from the picture's outer corner, as a smooth thin line."""
    margin = math.ceil(_LINE_WIDTH) + 1
    left, top = (math.floor(value) - margin for value in polygon.min(axis=0))
    right, bottom = (math.ceil(value) + margin for value in polygon.max(axis=0))
    stencil = Image.new("L", ((right - left) * _FINER, (bottom - top) * _FINER))
    line = [(x, y) for x, y in ((polygon - (left, top)) * _FINER).tolist()]
    ImageDraw.Draw(stencil).line(
        [*line, line[0], line[1]], fill=255, width=round(_LINE_WIDTH * _FINER), joint="curve"
    )
    picture.paste(colour, (left, top), stencil.reduce(_FINER))


def _write_caption(picture: Image.Image, caption: str) -> None:
    size = max(12, min(picture.size) // 40)
    ImageDraw.Draw(picture).text(
        (size // 2, picture.height - size // 2),
        " ".join(caption.splitlines()),
        fill="white",
        font=ImageFont.load_default(size),
        anchor="lb",
        stroke_width=max(1, size // 10),
        stroke_fill="black",
    )
