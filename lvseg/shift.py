"""Whether the contours of a series all lie off in one direction, as by another origin of their coordinates."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

FEWEST_SLICES = 5
"""With fewer, their spread says too little."""
LEAST_SHIFT_MM = 1.5
"""About a pixel of cardiac MR: contours are not drawn, nor masks found, more exactly than that."""
STANDARD_ERRORS = 3.0
"""How many of them the mean has to be long. Neighbouring slices err alike, so that 2 would be too few."""


@dataclass(frozen=True)
class Shift:
    """How far the contours of a series lie off the masks, on average."""

    slices: int
    mean_mm: tuple[float, float]
    """(x, y): to the right and down on the screen."""
    standard_error_mm: tuple[float, float]
    """Of the mean, (x, y)."""

    @property
    def length_mm(self) -> float:
        """Length of the mean."""
        return math.hypot(*self.mean_mm)

    @property
    def systematic(self) -> bool:
        """Whether it is no accident: enough slices, and the mean's length large in mm and in standard errors.

        The standard error of both axes together is the root of the sum of their squares, which depends on no
        direction.
        """
        least_mm = max(LEAST_SHIFT_MM, STANDARD_ERRORS * math.hypot(*self.standard_error_mm))
        return self.slices >= FEWEST_SLICES and self.length_mm >= least_mm


class ShiftMeter:
    """Takes offsets one by one, and keeps five numbers of them however many there are.

    References:
        Welford BP, "Note on a Method for Calculating Corrected Sums of Squares and Products", Technometrics 4(3),
        1962, https://doi.org/10.1080/00401706.1962.10490022
    """

    def __init__(self) -> None:
        self._slices = 0
        self._mean_mm = [0.0, 0.0]
        self._squares_mm2 = [0.0, 0.0]

    def add(self, offset_mm: tuple[float, float]) -> None:
        """Take a slice's :attr:`lvseg.plausibility.Plausibility.offset_mm`.

        Raises:
            ValueError: If it is not finite.
        """
        if not all(map(math.isfinite, offset_mm)):
            raise ValueError(f"expected a finite offset in mm, got {offset_mm}")
        self._slices += 1
        for axis, value in enumerate(offset_mm):
            before = value - self._mean_mm[axis]
            self._mean_mm[axis] += before / self._slices
            self._squares_mm2[axis] += before * (value - self._mean_mm[axis])

    def shift(self) -> Shift | None:
        """Return the shift of the slices so far; ``None`` for fewer than two, which have no spread."""
        if self._slices < 2:
            return None
        (x, y), (squares_x, squares_y) = self._mean_mm, self._squares_mm2
        degrees = self._slices * (self._slices - 1)
        return Shift(self._slices, (x, y), (math.sqrt(squares_x / degrees), math.sqrt(squares_y / degrees)))


def systematic_shift(offsets_mm: Iterable[tuple[float, float]]) -> Shift | None:
    """Return the shift of a series of offsets, as :meth:`ShiftMeter.shift` does.

    Example:
        >>> shift = systematic_shift([(2.0, 0.0), (2.5, 0.5), (1.5, -0.5), (2.0, 0.0), (2.0, 0.0)])
        >>> shift.mean_mm, shift.systematic
        ((2.0, 0.0), True)
    """
    meter = ShiftMeter()
    for offset_mm in offsets_mm:
        meter.add(offset_mm)
    return meter.shift()
