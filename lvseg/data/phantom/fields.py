"""What the phantom is painted with: a grid, smooth random fields, and soft-edged shapes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Point = tuple[float, float]

_MARGIN = 4  # knots beyond the field of view that a cubic spline may touch


@dataclass(frozen=True, eq=False)
class Grid:
    """Where a slice is sampled: mm from the centre of the image, x to the right and y down.

    Args:
        x: Shape ``(1, columns)``.
        y: Shape ``(rows, 1)``.
        step: Distance between neighbours, the same along both, in mm.
    """

    x: Array
    y: Array
    step: float

    @classmethod
    def square(cls, side_mm: float, count: int) -> "Grid":
        """Return ``count`` x ``count`` cells that fill a square of ``side_mm`` around the centre."""
        step = side_mm / count
        centres: Array = (np.arange(count, dtype=np.float64) - (count - 1) / 2) * step
        return cls(centres[np.newaxis, :], centres[:, np.newaxis], step)

    @property
    def shape(self) -> tuple[int, int]:
        """``(rows, columns)``."""
        return len(self.y), self.x.shape[1]

    def around(self, centre: Point, reach: float) -> tuple[tuple[slice, slice], "Grid"]:
        """Return the window within ``reach`` mm of a point along both axes, and its grid about that point."""
        x, y = self.x - centre[0], self.y - centre[1]
        rows = slice(*np.searchsorted(y[:, 0], (-reach, reach)).tolist())
        columns = slice(*np.searchsorted(x[0], (-reach, reach)).tolist())
        return (rows, columns), Grid(x[:, columns], y[rows], self.step)


@dataclass(frozen=True, eq=False)
class SmoothField:
    """A random field in three dimensions with mean 0 and variance 1: a cubic B-spline of white noise.

    Args:
        coefficients: Shape ``(planes, rows, columns)``.
        spacing: Distance between knots in mm, in the plane and across planes.
        first: Where the knots begin, in the plane (both axes) and across planes, in mm.
    """

    coefficients: Array
    spacing: Point
    first: Point

    @classmethod
    def draw(
        cls, rng: np.random.Generator, *, side_mm: float, depth_mm: float, scale_mm: float, across_mm: float
    ) -> "SmoothField":
        """Draw a field for a square of ``side_mm`` about the origin, and for z from 0 to ``depth_mm``.

        Args:
            rng: Where the white noise comes from.
            side_mm: Side of the square.
            depth_mm: Of the stack of planes.
            scale_mm: Size of the details in the plane.
            across_mm: Size of the details across planes.
        """
        count = int(np.ceil(side_mm / scale_mm)) + 2 * _MARGIN
        planes = int(np.ceil(depth_mm / across_mm)) + 2 * _MARGIN
        coefficients = rng.standard_normal((planes, count, count))
        first = (-side_mm / 2 - _MARGIN * scale_mm, -_MARGIN * across_mm)
        return cls(coefficients, (scale_mm, across_mm), first)

    def at(self, grid: Grid, z: float) -> Array:
        """Return the field in the plane ``z``, of the grid's shape."""
        across = _spline_weights(np.array([(z - self.first[1]) / self.spacing[1]]), len(self.coefficients))
        plane = np.tensordot(across[0], self.coefficients, axes=1)
        along_y = _spline_weights((grid.y[:, 0] - self.first[0]) / self.spacing[0], plane.shape[0])
        along_x = _spline_weights((grid.x[0] - self.first[0]) / self.spacing[0], plane.shape[1])
        values: Array = along_y @ plane @ along_x.T
        return values


def _spline_weights(position: Array, count: int) -> Array:
    """Return each knot's weight at each position, ``(positions, count)``, scaled to keep the variance at 1."""
    knot = np.clip(np.floor(position).astype(np.intp), 1, count - 3)
    t = position - knot
    weights = np.stack(
        ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3), axis=-1
    )
    weights /= np.sqrt((weights**2).sum(axis=-1, keepdims=True))
    matrix = np.zeros((len(position), count))
    np.put_along_axis(matrix, knot[:, np.newaxis] + np.arange(-1, 3), weights, axis=1)
    return matrix


def lay(signal: Array, value: Array | float, cover: Array) -> None:
    """Lay a tissue over ``signal``, in place, where and as much as ``cover`` (0 to 1) says."""
    signal += (value - signal) * cover


def inside(depth: Array, width: float) -> Array:
    """Return how much of a cell lies behind an edge ``width`` mm wide, 0 to 1, from its depth in mm."""
    cover: Array = np.clip(depth / width + 0.5, 0.0, 1.0)
    return cover


def line(depth: Array, width: float) -> Array:
    """Return the cover of a line along ``depth == 0`` that is ``width`` wide at half its height."""
    cover: Array = np.maximum(1.0 - np.abs(depth) / width, 0.0)
    return cover


def soft_minimum(first: Array, second: Array, width: float) -> Array:
    """Return the lesser of two depths, with the corner between them rounded over ``width`` mm."""
    overlap = np.maximum(width - np.abs(first - second), 0.0)
    lesser: Array = np.minimum(first, second) - overlap**2 / (4 * width)
    return lesser


def ellipse(x: Array, y: Array, centre: Point, axes: Point, turn: float) -> Array:
    """Return the approximate depth in mm inside an ellipse whose first axis is turned by ``turn`` radians."""
    cos, sin = np.cos(turn), np.sin(turn)
    along = ((x - centre[0]) * cos + (y - centre[1]) * sin) / axes[0]
    across = ((y - centre[1]) * cos - (x - centre[0]) * sin) / axes[1]
    depth: Array = (1.0 - np.sqrt(along**2 + across**2)) * min(axes)
    return depth


def turned(x: Array, y: Array, turn: float) -> tuple[Array, Array]:
    """Return the coordinates of points in axes that are turned by ``turn`` radians, from x towards y."""
    cos, sin = np.cos(turn), np.sin(turn)
    return x * cos + y * sin, y * cos - x * sin
