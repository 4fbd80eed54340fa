"""The closed lines between the pixels inside a mask and those outside."""

import numpy as np
from numpy.typing import NDArray

_TOP, _LEFT, _RIGHT, _BOTTOM = range(4)
_LINES = {
    0b0001: (_TOP, _LEFT),
    0b0010: (_RIGHT, _TOP),
    0b0100: (_BOTTOM, _RIGHT),
    0b1000: (_LEFT, _BOTTOM),
    0b0011: (_RIGHT, _LEFT),
    0b0110: (_BOTTOM, _TOP),
    0b1100: (_LEFT, _RIGHT),
    0b1001: (_TOP, _BOTTOM),
    0b1110: (_LEFT, _TOP),
    0b1101: (_TOP, _RIGHT),
    0b1011: (_RIGHT, _BOTTOM),
    0b0111: (_BOTTOM, _LEFT),
}
"""From which side to which a line crosses a cell, the square between four pixel centres, with the inside to its right.

Keys tell which of the four are inside: bits 0 to 3 are top left, top right, bottom right, bottom left.
"""
_FROM, _TO = (np.array([_LINES.get(inside, (0, 0))[end] for inside in range(16)]) for end in (0, 1))
_TOP_HALF, _BOTTOM_HALF, _ALL = 0b0011, 0b1100, 0b1111
_DIAGONALS = np.isin(np.arange(16), (0b0101, 0b1010))


def trace(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return every closed line between inside and outside, by marching squares.

    A line passes half-way between the centres of neighbours of which one is inside: one point ``(x, y)`` for each such
    pair, the first not repeated. It runs clockwise on the screen (x to the right, y down) around what is inside, and so
    counter-clockwise around a hole. Pixels that touch in a corner alone are apart. The first line is the one around the
    topmost, then leftmost pixel, and begins there.

    Args:
        mask: Shape ``(rows, columns)``.

    Returns:
        Arrays of shape ``(N, 2)``, float64, in pixels with centres at integers; none for an empty mask.

    Source:
        Lorensen and Cline, Marching cubes, SIGGRAPH 1987; its two-dimensional case.
    """
    rows, columns = mask.shape
    width = columns + 2
    padded = np.zeros((rows + 2, width), np.uint8)
    padded[1:-1, 1:-1] = mask
    pixels = padded.ravel()
    # Cells are numbered by their top left pixel, row by row; one that would span two rows lies in the padding.
    inside = pixels[: -width - 1] | pixels[1:-width] << 1 | pixels[width + 1 :] << 2 | pixels[width:-1] << 3
    cells = np.flatnonzero((inside > 0) & (inside < _ALL))
    inside = inside[cells]
    crossed = _DIAGONALS[inside]
    if crossed.any():  # by two lines
        cells = np.concatenate([cells, cells[crossed]])
        inside = np.concatenate(
            [np.where(crossed, inside & _TOP_HALF, inside), inside[crossed] & _BOTTOM_HALF]
        )
    # A side is two numbers of its cell, or of the cell that it is the top or left of.
    offsets = np.array([0, 1, 3, 2 * width])  # of top, left, right and bottom
    begins, ends = (2 * cells + offsets[end[inside]] for end in (_FROM, _TO))
    following = dict(zip(begins.tolist(), ends.tolist(), strict=True))
    lines = []
    for first in tuple(following):
        side = following.pop(first, None)
        if side is None:
            continue  # a former line went through it
        line = [first]
        while side != first:
            line.append(side)
            side = following.pop(side)
        lines.append(_points(np.array(line), width))
    return lines


def _points(sides: NDArray[np.int64], width: int) -> NDArray[np.float64]:
    cells, left = sides >> 1, sides & 1
    row, column = np.divmod(cells, width)
    half = left / 2
    return np.stack([column - 0.5 - half, row - 1 + half], axis=1)
