"""The chest: skin, fat, muscle, ribs and sternum; the lungs; the fat between heart and diaphragm."""

import numpy as np

from lvseg.data.phantom.fields import Array, inside, lay, line
from lvseg.data.phantom.patient import Patient
from lvseg.data.phantom.plane import Plane
from lvseg.data.phantom.tissue import BONE, FAT, LUNG, MUSCLE, SKIN

_RIBS_APART_MM = 27.0
_SKIN_MM = 1.8


class Chest:
    """One patient's chest."""

    def __init__(self, patient: Patient, rng: np.random.Generator) -> None:
        self._patient = patient
        self._shoulder = rng.uniform(0.15, 0.5)
        self._first_rib_mm = rng.uniform(0.0, _RIBS_APART_MM)
        self._marrow = rng.uniform(0.2, 0.6) * FAT

    def paint(self, signal: Array, plane: Plane, depth: Array, above: Array) -> Array:
        """Paint the chest, in place, and return the depth behind its wall in mm.

        Args:
            signal: Of the plane's shape.
            plane: Where.
            depth: Below the skin, mm.
            above: Height above the diaphragm, mm.
        """
        patient = self._patient
        ripple = 1.0 + 0.3 * np.sin(plane.along / 50.0 + self._first_rib_mm)
        fat = np.maximum(patient.fat_mm * ripple + 2.5 * plane.coarse, 3.0)
        # Towards the shoulder the wall is thick with muscle.
        wall = patient.wall_mm + self._shoulder * np.maximum(plane.along - 15.0, 0.0) + 1.5 * plane.coarse
        self._paint_fat(signal, plane, depth)
        self._paint_muscle(signal, plane, depth - fat, wall)
        cavity = depth - fat - wall
        self._paint_lungs(signal, plane, cavity)
        self._paint_fat_pad(signal, plane, cavity, above)
        self._paint_sternum(signal, plane)
        return cavity

    def _paint_fat(self, signal: Array, plane: Plane, depth: Array) -> None:
        lay(signal, SKIN, inside(depth, plane.edge))
        fat = FAT * (1.0 + 0.08 * plane.fine + 0.06 * plane.coarse)
        lay(signal, fat, inside(depth - _SKIN_MM, plane.edge))
        septa = line(plane.veins + 0.3 * plane.fine, 0.10) * inside(depth - 2 * _SKIN_MM, 3.0)
        lay(signal, 0.45 * FAT, 0.6 * septa)

    def _paint_muscle(self, signal: Array, plane: Plane, depth: Array, wall: Array) -> None:
        grain = 1.0 + 0.15 * (plane.fine + plane.veins + plane.coarse)
        lay(signal, MUSCLE * grain, inside(depth, plane.edge))
        # Layers of muscle slide on sheets of fat, which come and go.
        for share in (0.42, 0.74):
            sheet = line(depth - share * wall + 2.0 * (plane.veins + plane.coarse), plane.edge)
            lay(signal, 0.7 * FAT, 0.7 * sheet * np.clip(plane.coarse + 0.8 * plane.veins, 0.0, 1.0))
        place = (plane.along + self._first_rib_mm + 2.0 * plane.coarse) % _RIBS_APART_MM - _RIBS_APART_MM / 2
        bone = (1.0 - np.hypot((depth - 0.66 * wall) / 5.0, place / 7.0)) * 5.0
        lay(signal, BONE, inside(bone, plane.edge))
        lay(signal, self._marrow * (1.0 + 0.2 * plane.fine), inside(bone - 1.6, plane.edge))

    def _paint_lungs(self, signal: Array, plane: Plane, cavity: Array) -> None:
        haze = 1.0 + 0.6 * np.maximum(plane.fine, 0.0) + 0.8 * np.maximum(plane.coarse, 0.0)
        lay(signal, LUNG * haze, inside(cavity, 1.5))
        # Vessels: short bright twigs, more of them near the heart.
        near = np.clip(1.3 - np.hypot(plane.x - 8.0, plane.y) / 95.0, 0.0, 1.0)
        twigs = np.maximum(plane.twigs + 0.35 * plane.coarse - 1.9, 0.0)
        lay(signal, 0.7, np.clip(0.9 * twigs * near, 0.0, 0.8) * inside(cavity - 3.0, 3.0))

    def _paint_fat_pad(self, signal: Array, plane: Plane, cavity: Array, above: Array) -> None:
        """Fill the corner between the front of the chest and the diaphragm with fat."""
        rounding = (50.0 + 70.0 * self._patient.build) * np.clip(0.8 - plane.x / 60.0, 0.05, 1.0)
        overlap = np.maximum(rounding - np.abs(cavity - above), 0.0)
        corner = overlap**2 / (4 * rounding) - np.minimum(cavity, above)
        pad = np.minimum(corner, 8.0) + 1.5 * plane.coarse + plane.veins
        lay(signal, 0.8 * FAT * (1.0 + 0.1 * plane.fine), inside(np.minimum(pad, cavity + 2.0), plane.edge))
        strands = line(plane.veins - 0.2, 0.12) * inside(pad - 2.0, 2.0)
        lay(signal, 0.0, 0.35 * strands * np.clip(plane.coarse, 0.0, 1.0))

    def _paint_sternum(self, signal: Array, plane: Plane) -> None:
        """Paint the sternum and the cartilages beside it: a swirl of little and some signal."""
        x = plane.x + 0.78 * self._patient.front_mm - 14.0 - 10.0 * plane.towards_apex
        y = plane.y + 22.0
        swirl = 12.0 - np.hypot((0.8 * x - 0.6 * y) / 2.0, (0.6 * x + 0.8 * y) * 1.2)
        bands = np.maximum(np.cos(3.0 * plane.veins + 1.6 * plane.fine + 2.0 * plane.coarse), 0.0) ** 2
        lay(signal, 0.9 * bands - 0.1, 0.9 * inside(swirl + 4.0 * plane.coarse + 1.5 * plane.veins, 4.0))
