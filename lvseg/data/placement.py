"""Where in a slice a training window lies: its place, turn, size and bends."""

import numpy as np
from numpy.typing import NDArray

from lvseg.data.augmentation import Augmentation
from lvseg.data.cavity import Places
from lvseg.data.intensities import between, smooth_field

_ELASTIC_CELLS = 5


def place_window(
    mask: NDArray[np.bool_], random: np.random.Generator, options: Augmentation, *, side: int
) -> tuple[Places, Places]:
    """Draw the rows and columns of a slice, each (side, side), at which the pixels of a window lie.

    Args:
        mask: The slice's, (rows, columns).
        random: What draws.
        options: ``window`` ``None`` puts the slice's middle into the window's.
        side: Of the window, in pixels.
    """
    centre = _centre(mask, random, options, side)
    angle = np.deg2rad(random.uniform(-options.rotation_deg, options.rotation_deg))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag([between(random, options.stretch), between(random, options.stretch)])
    to_slice = between(random, options.scale) * turn @ stretch
    along = np.arange(side) - (side - 1) / 2
    window = np.stack(np.meshgrid(along, along, indexing="ij"))  # (2, S, S)
    rows, columns = np.tensordot(to_slice, window, axes=1) + centre[:, np.newaxis, np.newaxis]
    bend = random.uniform(0.0, options.elastic)
    if bend > 0:
        rows = rows + smooth_field(random, (side, side), cells=_ELASTIC_CELLS, deviation=bend)
        columns = columns + smooth_field(random, (side, side), cells=_ELASTIC_CELLS, deviation=bend)
    return rows, columns


def _centre(
    mask: NDArray[np.bool_], random: np.random.Generator, options: Augmentation, side: int
) -> NDArray[np.float64]:
    """Draw the (row, column) of the slice at which the window's middle lies."""
    centre: NDArray[np.float64]
    if options.window is None:
        shape = np.array(mask.shape)
        centre = (shape - 1 + (side - shape) % 2) / 2  # pixel on pixel, for odd and even sides
    elif random.random() < options.centred_share:
        reach = options.shift * options.window
        centre = np.argwhere(mask).mean(axis=0) + random.uniform(-reach, reach, size=2)
    else:
        centre = random.uniform((0, 0), mask.shape)
    return centre
