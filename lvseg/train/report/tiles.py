"""Channels or kernels as one small picture, side by side."""

import math
from typing import Literal

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image

Colours = Literal["gray", "viridis", "RdBu_r"]
"""matplotlib's names: grey, dark to light; blue over white at zero to red."""

_SIDE = 256  # px of the longer side of the whole picture, about
_GAP = 3
_LEVELS = 255  # the last colour of the palette is the gap's: transparent


def tiles(values: NDArray[np.float32], colours: Colours) -> Image.Image:
    """Return a picture with a palette: square rows of tiles, one scale of colours for all of them.

    The scale goes from the 0.5th to the 99.5th percentile; of ``RdBu_r`` it is symmetric around zero.

    Args:
        values: Shape ``(tiles, rows, columns)``; each tile is shrunk, or enlarged by a whole factor, to fit.
        colours: The palette.
    """
    count, rows, columns = values.shape
    across = math.ceil(math.sqrt(count))
    down = math.ceil(count / across)
    room = (_SIDE - (across - 1) * _GAP) // across
    height, width = _fit(rows, columns, room)
    levels = _levels(values, symmetric=colours == "RdBu_r")
    canvas = np.full((down * (height + _GAP) - _GAP, across * (width + _GAP) - _GAP), _LEVELS, dtype=np.uint8)
    for place, tile in enumerate(levels):
        row, column = divmod(place, across)
        top, left = row * (height + _GAP), column * (width + _GAP)
        canvas[top : top + height, left : left + width] = _resize(tile, height, width)
    picture = Image.fromarray(canvas).convert("P")
    picture.putpalette(_palette(colours))
    picture.info["transparency"] = _LEVELS
    return picture


def _fit(rows: int, columns: int, room: int) -> tuple[int, int]:
    longer = max(rows, columns)
    if longer <= room:
        return rows * (room // longer), columns * (room // longer)
    return max(1, round(rows * room / longer)), max(1, round(columns * room / longer))


def _levels(values: NDArray[np.float32], *, symmetric: bool) -> NDArray[np.uint8]:
    low, high = np.percentile(values, (0.5, 99.5)).tolist()
    if symmetric:
        high = max(-low, high)
        low = -high
    if high <= low:  # one value almost everywhere
        low, high = float(values.min()), float(values.max())
    if high <= low:
        low, high = low - 0.5, high + 0.5
    scaled = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1)
    levels: NDArray[np.uint8] = np.rint(scaled * (_LEVELS - 1)).astype(np.uint8)
    return levels


def _resize(tile: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    rows, columns = tile.shape
    if height >= rows:
        return np.kron(tile, np.ones((height // rows, width // columns), dtype=np.uint8))
    return np.asarray(Image.fromarray(tile).resize((width, height), Image.Resampling.BOX))


def _palette(colours: Colours) -> bytes:
    scale = mpl.colormaps[colours](np.linspace(0, 1, _LEVELS))[:, :3]
    colours_8_bit: NDArray[np.uint8] = np.rint(scale * 255).astype(np.uint8)
    return colours_8_bit.tobytes() + bytes(3)
