"""Paint the heart into a plane of the body: fat, pericardium, both ventricles, papillary muscles."""

from dataclasses import dataclass

import numpy as np

from lvseg.data.phantom.fields import (
    Array,
    Grid,
    SmoothField,
    ellipse,
    inside,
    lay,
    soft_minimum,
    turned,
)
from lvseg.data.phantom.heart import ANGLES, Section
from lvseg.data.phantom.patient import Patient
from lvseg.data.phantom.tissue import BLOOD, FAT, FIBROUS

_REACH_MM = 95.0  # no part of a heart is farther from its long axis
_EDGE_MM = 2.0  # the heart moves while a phase is measured, and crosses the slice at a slant
_TIP_OF_PAPILLARY = 0.86  # height at which the papillary muscles leave the wall: 0 is the ring, 1 the apex


@dataclass(frozen=True)
class _Papillary:
    """A papillary muscle: rooted in the wall near the apex, free in the cavity near the mitral ring."""

    angle: float
    radius_mm: float
    top: float
    """Height at which it ends."""


@dataclass(frozen=True, eq=False)
class _View:
    """A section of the heart on the cells around it."""

    section: Section
    contraction: float
    x: Array
    y: Array
    cavity: Array
    """Depth inside the left ventricle's cavity, mm."""
    outside: Array
    """Distance outside the left ventricle's epicardium, mm."""
    muscle: Array
    """Signal that muscle has here."""
    blood: Array
    """Signal that blood has here."""
    lumps: Array
    """Random detail of half a cm, for trabeculae."""
    coarse: Array
    """Random detail of 2 cm."""
    edge: float
    """How wide edges are, mm."""

    @property
    def height(self) -> float:
        """0 at the mitral ring (or above it) to 1 at the apex (or below it)."""
        return min(max(self.section.height, 0.0), 1.0)

    @property
    def left(self) -> float:
        """Radius of the left ventricle's epicardium, mm."""
        return float(self.section.epicardium.mean())


class HeartPainter:
    """Paints one patient's heart in any plane and phase."""

    def __init__(self, patient: Patient) -> None:
        rng = patient.generator("heart")
        self._patient = patient
        self._heart = patient.heart

        def field(scale_mm: float, across_mm: float) -> SmoothField:
            return SmoothField.draw(
                rng,
                side_mm=2 * _REACH_MM,
                depth_mm=patient.depth_mm,
                scale_mm=scale_mm,
                across_mm=across_mm,
            )

        self._fine, self._lumps = field(2.6, 9.0), field(5.5, 13.0)
        self._flow, self._coarse = field(9.0, 15.0), field(20.0, 30.0)
        opposite = patient.heart.septum + np.pi
        self._papillaries = (
            _Papillary(opposite - rng.uniform(0.75, 1.05), rng.uniform(4.6, 6.4), rng.uniform(0.14, 0.26)),
            _Papillary(opposite + rng.uniform(0.85, 1.15), rng.uniform(4.6, 6.6), rng.uniform(0.16, 0.28)),
        )
        self._raggedness = rng.uniform(0.8, 1.8)
        self._outflow_angle = rng.uniform(0.7, 1.1)
        self._outflow_radius_mm = rng.uniform(13.0, 17.0)

    def paint(self, signal: Array, room: Array, grid: Grid, z: float, contraction: float) -> None:
        """Paint the heart over a plane of the body, in place.

        Args:
            signal: The body's plane, of the grid's shape.
            room: Depth inside the chest in mm, of the same shape.
            grid: Cells of the image.
            z: The plane: mm from the end-diastolic mitral ring towards the apex.
            contraction: 0 at end-diastole to 1 at end-systole.
        """
        window, cells = grid.around(self._patient.axis_mm(z), _REACH_MM)
        part, space = signal[window], room[window]
        view = self._view(cells, z, contraction)
        fine = self._fine.at(cells, z)
        right = soft_minimum(self._right(view), space - 3.5, 10.0)
        wall = 2.4 + 0.9 * contraction
        self._paint_fat(part, view, np.minimum(self._sac(view, right + wall), space + 1.0), fine)
        lay(part, view.muscle, inside(right + wall, view.edge))
        trabeculae = self._right_trabeculae(view, right)
        lay(part, 0.93 * view.blood, inside(right, 1.5 * view.edge) * (1.0 - trabeculae))
        thickness = self._patient.slice_thickness_mm
        lay(
            part, view.muscle, inside(-view.outside, max(view.edge, thickness * min(view.section.slope, 1.2)))
        )
        if view.section.height < 1.0:
            self._paint_cavity(part, view)

    def _view(self, cells: Grid, z: float, contraction: float) -> _View:
        section = self._heart.section(z, contraction)
        x, y = turned(cells.x, cells.y, self._patient.turn)
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        fine, lumps = self._fine.at(cells, z), self._lumps.at(cells, z)
        flow = self._flow.at(cells, z)
        return _View(
            section=section,
            contraction=contraction,
            x=x,
            y=y,
            cavity=np.interp(angle, ANGLES, section.endocardium) - radius,
            outside=radius - np.interp(angle, ANGLES, section.epicardium),
            muscle=self._patient.myocardium * (1.0 + 0.07 * lumps + 0.05 * fine),
            # Blood that is ejected swirls, and loses signal in places.
            blood=BLOOD * (1.0 + (0.05 + 0.03 * contraction) * flow + 0.03 * fine),
            lumps=lumps + 0.5 * fine,
            coarse=self._coarse.at(cells, z),
            edge=max(cells.step, _EDGE_MM),
        )

    def _right(self, view: _View) -> Array:
        """Return the depth inside the right ventricle and its outflow tract, mm."""
        down = min(view.height / 0.93, 1.0)
        taper = float(np.sqrt(1.0 - down**2.4))
        if taper < 0.05:
            return np.full_like(view.cavity, -np.inf)
        left = view.left
        near, far = 0.25 * left, left + self._heart.right_width_mm * (1.0 - 0.33 * view.contraction) * taper
        axes = ((far - near) / 2, 1.04 * left * (0.55 + 0.45 * taper))
        turn = self._heart.septum + 0.10 - 0.25 * down
        centre = ((near + far) / 2 * np.cos(turn), (near + far) / 2 * np.sin(turn))
        cavity = ellipse(view.x, view.y, centre, axes, turn)
        corners = 3.0 * (np.arctan2(view.y - centre[1], view.x - centre[0]) - self._heart.septum) - 2.6
        cavity += 0.06 * axes[0] * np.cos(corners) + 1.4 * view.coarse
        # The heart rests on the diaphragm, which flattens it from below.
        cavity = soft_minimum(cavity, 0.86 * left - view.y + 0.1 * view.x, 14.0)
        return np.maximum(cavity, self._outflow(view))

    def _outflow(self, view: _View) -> Array:
        """Return the depth inside the right ventricle's outflow tract, which ends in the pulmonary artery."""
        size = min(1.0, max(0.0, (0.30 - view.section.height) / 0.15))
        radius = self._outflow_radius_mm * size * (1.0 - 0.15 * view.contraction)
        if radius < 1.0:
            return np.full_like(view.cavity, -np.inf)
        away = view.left + 0.75 * self._outflow_radius_mm
        direction = self._heart.septum + self._outflow_angle
        depth = radius - np.hypot(view.x - away * np.cos(direction), view.y - away * np.sin(direction))
        tract: Array = np.minimum(depth + 1.2 * view.coarse, view.outside - 1.0)
        return tract

    def _sac(self, view: _View, right: Array) -> Array:
        """Return the depth inside the pericardium, mm."""
        # Fat lies on the right ventricle and in the grooves; the left one's free wall has next to none.
        side = np.cos(np.arctan2(view.y, view.x) - self._heart.septum)
        fat = (0.8 + 2.4 * self._patient.build) * (0.6 + 0.9 * side + 0.8 * view.coarse)
        depth: Array = np.maximum(fat, 0.0) - soft_minimum(view.outside, -right, 8.0)
        return depth

    def _paint_fat(self, part: Array, view: _View, sac: Array, fine: Array) -> None:
        lay(part, FIBROUS, inside(sac + 1.6, view.edge))
        lay(part, 0.95 * FAT * (1.0 + 0.08 * fine), inside(sac, view.edge))

    def _right_trabeculae(self, view: _View, right: Array) -> Array:
        """Return how much muscle stands in the right ventricle's blood: near its wall, and near the apex."""
        near_wall = np.clip(1.0 - right / (5.0 + 14.0 * view.height), 0.0, 1.0)
        cover: Array = np.clip(1.6 * (view.lumps - 0.7 + 0.6 * view.height), 0.0, 0.85) * near_wall
        return cover

    def _paint_cavity(self, part: Array, view: _View) -> None:
        section = view.section
        # Trabeculae make the edge of the blood ragged, more so towards the apex; an atrium has none.
        ragged = self._raggedness * (0.5 + 1.3 * view.height) * np.maximum(view.lumps, 0.0)
        depth = view.cavity - ragged if section.has_cavity else view.cavity
        slant = 0.5 * self._patient.slice_thickness_mm * min(section.slope, 1.5)
        lay(part, view.blood, inside(depth, max(view.edge, slant)))
        for papillary in self._papillaries:
            if papillary.top < section.height < _TIP_OF_PAPILLARY:
                self._paint_papillary(part, view, papillary)

    def _paint_papillary(self, part: Array, view: _View, papillary: _Papillary) -> None:
        cavity = float(view.section.endocardium.mean())
        rise = (_TIP_OF_PAPILLARY - view.height) / (_TIP_OF_PAPILLARY - papillary.top)
        thick = min(1.0, 2.2 * (1.0 - rise) + 0.25) * min(1.0, cavity / 16.0)
        size = papillary.radius_mm * thick * (1.0 + 0.12 * view.contraction)
        cos, sin = np.cos(papillary.angle), np.sin(papillary.angle)
        away = cavity - size * (0.75 + 0.75 * rise)
        heads = (
            ((away * cos, away * sin), (1.1 * size, 0.8 * size)),
            ((away * cos - 0.9 * size * sin, away * sin + 0.9 * size * cos), (0.7 * size, 0.6 * size)),
        )
        depth = np.maximum(*(ellipse(view.x, view.y, *head, papillary.angle) for head in heads))
        depth = np.minimum(depth + 0.9 * view.lumps, view.cavity + 1.0)
        lay(part, view.muscle, 0.95 * inside(depth, view.edge))
