"""What lies below the diaphragm: liver, stomach, spleen, kidney, large vessels, bowel and fat."""

from dataclasses import dataclass

import numpy as np

from lvseg.data.phantom.fields import Array, Point, ellipse, inside, lay, line, soft_minimum
from lvseg.data.phantom.plane import Plane
from lvseg.data.phantom.tissue import BLOOD, FAT, FIBROUS, MUSCLE

_LOOPS = 13
_DIAPHRAGM_MM = 2.2
_LOOP_ENDS_MM = 12.0
_VESSELS = (((0.0, 0.0), 10.0), ((-27.0, 5.0), 7.5), ((-12.0, -14.0), 3.5))  # place beside the aorta, radius


@dataclass(frozen=True, kw_only=True)
class _Hollow:
    """Stomach or bowel: a wall in folds around contents that are dark, grey or bright."""

    centre: Point
    """At z = 0, mm."""
    drift: Point
    """By how much the centre moves across the plane for each mm along z."""
    axes: Point
    turn: float
    wall: float
    contents: float
    range: Point
    """Lowest and highest z, mm."""

    def paint(self, signal: Array, plane: Plane, below: Array) -> None:
        to_end = min(plane.z - self.range[0], self.range[1] - plane.z)
        if to_end <= 0.0:
            return
        scale = min(1.0, to_end / _LOOP_ENDS_MM) ** 0.5
        centre = (self.centre[0] + self.drift[0] * plane.z, self.centre[1] + self.drift[1] * plane.z)
        axes = (self.axes[0] * scale, self.axes[1] * scale)
        depth = ellipse(plane.x, plane.y, centre, axes, self.turn) + 1.6 * plane.veins
        depth = np.minimum(depth, below - 2.5)
        lay(signal, self.wall * (1.0 + 0.15 * plane.fine), inside(depth, plane.edge))
        lay(signal, self.contents * (1.0 + 0.2 * plane.veins), inside(depth - 2.8 - 1.4 * plane.fine, 1.5))


class Abdomen:
    """One patient's abdomen."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._bowel = [_draw_loop(rng) for _ in range(_LOOPS)]
        self._stomach = _draw_stomach(rng)
        self._liver_edge = (rng.uniform(0.0, 40.0), rng.uniform(115.0, 165.0))
        self._spleen_turn = rng.uniform(0.9, 1.5)
        self._aorta = (rng.uniform(-5.0, 20.0), rng.uniform(92.0, 112.0))
        self._kidney = (rng.uniform(35.0, 60.0), rng.uniform(112.0, 130.0))
        self._liver, self._spleen = rng.uniform(0.27, 0.42), rng.uniform(0.32, 0.48)

    def paint(self, signal: Array, plane: Plane, below: Array) -> None:
        """Paint the abdomen, in place.

        Args:
            signal: Of the plane's shape.
            plane: Where.
            below: Depth inside the abdomen, mm.
        """
        lay(signal, MUSCLE, inside(below + _DIAPHRAGM_MM, plane.edge))
        fat = 0.75 * FAT * (1.0 + 0.12 * plane.fine + 0.15 * plane.coarse)
        lay(signal, fat, inside(below, plane.edge))
        vessels = line(plane.veins + 0.25 * plane.fine, 0.16)
        lay(signal, 0.28, 0.75 * vessels * inside(below - 4.0, 3.0))
        for loop in (*self._bowel, self._stomach):
            loop.paint(signal, plane, below)
        self._paint_spleen(signal, plane, below)
        if plane.towards_apex < 0.55:
            self._paint_kidney(signal, plane, below)
        if plane.towards_apex < 0.4:
            self._paint_vessels(signal, plane)
        self._paint_liver(signal, plane, below)

    def _paint_spleen(self, signal: Array, plane: Plane, below: Array) -> None:
        centre = (88.0 - 6.0 * plane.towards_apex, 84.0 + 14.0 * plane.towards_apex)
        spleen = ellipse(plane.x, plane.y, centre, (42.0, 23.0), self._spleen_turn)
        cover = inside(np.minimum(spleen, below - 1.2), plane.edge)
        lay(signal, self._spleen * (1.0 + 0.05 * plane.fine), cover)

    def _paint_kidney(self, signal: Array, plane: Plane, below: Array) -> None:
        depth = np.minimum(ellipse(plane.x, plane.y, self._kidney, (27.0, 17.0), 1.1), below - 3.0)
        lay(signal, 0.55, inside(depth, plane.edge))
        lay(signal, 0.42, inside(depth - 6.0 - 1.5 * plane.veins, plane.edge))
        lay(signal, 0.6 * FAT, inside(depth - 11.5 - 2.0 * plane.veins, plane.edge))

    def _paint_vessels(self, signal: Array, plane: Plane) -> None:
        """Paint the aorta and what runs beside it, behind the base of the heart."""
        for (x, y), radius in _VESSELS:
            depth = radius - np.hypot(plane.x - self._aorta[0] - x, plane.y - self._aorta[1] - y)
            lay(signal, FIBROUS, inside(depth + 1.2, plane.edge))
            lay(signal, 0.85 * BLOOD, inside(depth, plane.edge))

    def _paint_liver(self, signal: Array, plane: Plane, below: Array) -> None:
        """Fill the left of the image at the base, less and less of it towards the apex."""
        edge, bottom = self._liver_edge
        edge -= 85.0 * max(0.0, plane.towards_apex) ** 1.3
        bottom -= 45.0 * plane.towards_apex
        right = edge - plane.x - 0.45 * (plane.y - 60.0) + 5.0 * plane.coarse
        depth = np.minimum(soft_minimum(right, bottom - plane.y - 0.25 * plane.x, 40.0), below - 1.0)
        lay(signal, self._liver * (1.0 + 0.06 * plane.fine), inside(depth, plane.edge))
        veins = np.clip(1.1 * (plane.twigs + 0.7 * plane.veins - 1.9), 0.0, 1.0)
        lay(signal, 0.95, 0.8 * veins * inside(depth - 5.0, 4.0))


def _draw_loop(rng: np.random.Generator) -> _Hollow:
    start = rng.uniform(-40.0, 70.0)
    return _Hollow(
        centre=(rng.uniform(-95.0, 75.0), rng.uniform(72.0, 185.0)),
        drift=(rng.uniform(-0.25, 0.25), rng.uniform(-0.35, 0.05)),
        axes=(rng.uniform(11.0, 27.0), rng.uniform(8.0, 14.0)),
        turn=rng.uniform(-0.9, 0.9),
        wall=rng.uniform(0.2, 0.32),
        contents=float(rng.choice((0.05, 0.22, 0.3, 0.34, 0.5))),
        range=(start, start + rng.uniform(35.0, 90.0)),
    )


def _draw_stomach(rng: np.random.Generator) -> _Hollow:
    return _Hollow(
        centre=(rng.uniform(5.0, 30.0), rng.uniform(66.0, 76.0)),
        drift=(rng.uniform(-0.5, -0.1), rng.uniform(-0.02, 0.15)),
        axes=(rng.uniform(24.0, 40.0), rng.uniform(12.0, 19.0)),
        turn=rng.uniform(-0.4, 0.1),
        wall=rng.uniform(0.26, 0.36),
        contents=float(rng.choice((0.06, 0.3, 0.6, 0.85))),
        range=(rng.uniform(-10.0, 15.0), 130.0),
    )
