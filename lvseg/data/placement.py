"""Where in a slice a training window lies: its place, turn, size and bends."""

import numpy as np

from lvseg.data.augmentation import Augmentation
from lvseg.data.cavity import Places
from lvseg.data.intensities import between, smooth_field

_ELASTIC_CELLS = 5


def place_window(
    shape: tuple[int, ...],
    ventricle: Places,
    random: np.random.Generator,
    options: Augmentation,
    *,
    side: int,
    working_spacing_mm: float,
) -> tuple[Places, Places]:
    """Draw the rows and columns of a slice, each (side, side), at which the pixels of a window lie.

    Args:
        shape: The slice's, (rows, columns).
        ventricle: The (row, column) of its middle.
        random: What draws.
        options: ``window`` ``None`` puts the slice's middle into the window's.
        side: Of the window, in pixels.
        working_spacing_mm: Side of a pixel.
    """
    centre = _centre(shape, ventricle, random, options, side)
    limit = 180.0 if random.random() < options.any_turn_share else options.rotation_deg
    angle = np.deg2rad(random.uniform(-limit, limit))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    stretch = np.diag([between(random, options.stretch), between(random, options.stretch)])
    to_slice = between(random, options.scale) * turn @ stretch
    along = np.arange(side) - (side - 1) / 2
    window = np.stack(np.meshgrid(along, along, indexing="ij"))  # (2, S, S)
    rows, columns = np.tensordot(to_slice, window, axes=1) + centre[:, np.newaxis, np.newaxis]
    bend = random.uniform(0.0, options.elastic_mm) / working_spacing_mm
    if bend > 0:
        rows = rows + smooth_field(random, (side, side), cells=_ELASTIC_CELLS, deviation=bend)
        columns = columns + smooth_field(random, (side, side), cells=_ELASTIC_CELLS, deviation=bend)
    return rows, columns


def _centre(
    shape: tuple[int, ...], ventricle: Places, random: np.random.Generator, options: Augmentation, side: int
) -> Places:
    """Draw the (row, column) of the slice at which the window's middle lies."""
    centre: Places
    if options.window is None:
        extent = np.array(shape)
        centre = (extent - 1 + (side - extent) % 2) / 2  # pixel on pixel, for odd and even sides
    elif random.random() < options.centred_share:
        reach = options.shift * options.window
        centre = ventricle + random.uniform(-reach, reach, size=2)
    else:
        centre = random.uniform((0, 0), shape)
    return centre
