"""The anatomy that the labels come from: two ventricles as smooth shapes of long axis and time.

Lengths are mm. The long axis runs along z, from the mitral ring at end-diastole (z = 0) to the tip of
the cavity; a section is a curve in polar coordinates about the long axis, with angles from x (to the
right) towards y (down). Contraction goes from 0 at end-diastole to 1 at end-systole.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy.interpolate import PchipInterpolator

from lvseg.data.phantom.fields import Array

ANGLES: Array = np.linspace(-np.pi, np.pi, 361)
"""Where sections are sampled; the last angle is the first again."""

_BLUNTNESS = 2.4  # of the apex: 2 would be an ellipsoid
_WAIST = 0.10  # by which the cavity narrows towards the mitral ring
_APEX_STAYS = 0.98  # the apex moves by this little of the length
_DISCS = 400  # for the volume

# (share of systole or diastole, contraction): ejection; isovolumic relaxation, filling, rest, atrial kick.
_SYSTOLE = ((0.0, 0.0), (0.2, 0.10), (0.6, 0.72), (1.0, 1.0))
_DIASTOLE = ((0.12, 0.97), (0.38, 0.40), (0.62, 0.22), (0.85, 0.17), (1.0, 0.0))


@dataclass(frozen=True, eq=False)
class Section:
    """The left ventricle in one plane.

    Args:
        height: 0 at the mitral ring, 1 at the tip of the cavity; outside that range there is no cavity.
        endocardium: Radius of the cavity at each of :data:`ANGLES`, papillary muscles counted in; mm.
        epicardium: Radius of the myocardium's outer edge at the same angles, mm.
        slope: How fast the epicardium's radius changes along the axis, mm for a mm: blurs thick slices.
    """

    height: float
    endocardium: Array
    epicardium: Array
    slope: float

    @property
    def has_cavity(self) -> bool:
        """Whether the plane cuts the ventricle's cavity."""
        return 0.0 <= self.height < 1.0

    @property
    def cavity_mm2(self) -> float:
        """Area of the cavity in the plane."""
        return area_mm2(self.endocardium) if self.has_cavity else 0.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Heart:
    """A left ventricle that contracts, and what the right one needs to wrap it."""

    length_mm: float
    """From the mitral ring to the tip of the cavity at end-diastole."""
    radius_mm: tuple[float, float]
    """Scale of the cavity's radius at end-diastole and at end-systole."""
    shortening: float
    """Share of the length by which the mitral ring has come down at end-systole."""
    wall_mm: float
    """Thickness of the wall at end-diastole, half-way down, on average."""
    septum: float
    """Angle at which the middle of the septum lies."""
    septal_excess: float
    """Share by which the septum is thicker than the opposite wall is thin."""
    outline: Array
    """Amplitude of cos and sin (second axis) of twice, three and four times the angle (first axis)."""
    akinesia: tuple[float, float]
    """Angle of the middle of a region that contracts less, and by what share of the radius."""
    right_width_mm: float
    """From the septum to the free wall of the right ventricle at end-diastole."""

    @property
    def outer_radius_mm(self) -> float:
        """Where the myocardium ends at end-diastole, at its widest."""
        return self.radius_mm[0] + self.wall_mm

    def section(self, z: float, contraction: float) -> Section:
        """Return the left ventricle in the plane ``z``."""
        top, tip = self._ends(contraction)
        height = (z - top) / (tip - top)
        inner, outer = self._radii(height, contraction, tip - top)
        probe = 0.5 / (tip - top)
        below = self._radii(height + probe, contraction, tip - top)[1].mean()
        above = self._radii(height - probe, contraction, tip - top)[1].mean()
        return Section(height, inner, outer, float(abs(below - above)))

    def _radii(self, height: float, contraction: float, length: float) -> tuple[Array, Array]:
        relaxed = self._cavity(height, 0.0)
        inner = self._cavity(height, contraction)
        wall = self._wall(height)
        thickened = (
            ((relaxed + wall) ** 2 - relaxed**2) * self.length_mm / length
        )  # the muscle keeps its volume
        outer = np.sqrt(inner**2 + thickened)
        if height > 1.0:  # below the tip there is only muscle, rounded off
            depth = min(1.0, (height - 1.0) * length / (1.2 * float(outer.mean())))
            outer = outer * np.sqrt(1.0 - depth**2)
        return inner, outer

    def _cavity(self, height: float, contraction: float) -> Array:
        turns = np.arange(2, 2 + len(self.outline))[:, np.newaxis] * ANGLES
        shape = 1.0 + self.outline[:, 0] @ np.cos(turns) + self.outline[:, 1] @ np.sin(turns)
        where, amount = self.akinesia
        shape = shape + contraction * amount * np.exp(3.0 * (np.cos(ANGLES - where) - 1.0))
        shape = shape / np.sqrt((shape[:-1] ** 2).mean())
        cavity: Array = self._radius(contraction) * profile(height) * shape
        return cavity

    def _wall(self, height: float) -> Array:
        around = 1.0 + self.septal_excess * np.cos(ANGLES - self.septum)
        along = 1.05 - 0.40 * np.clip(height, 0.0, 1.0) ** 2
        if height < 0.12:  # the wall thins out into the mitral ring
            along *= 0.35 + 0.65 * np.clip((height + 0.10) / 0.22, 0.0, 1.0)
        wall: Array = self.wall_mm * along * around
        return wall

    def volume_ml(self, contraction: float) -> float:
        """Return the volume of the cavity, papillary muscles counted in, in mL."""
        top, tip = self._ends(contraction)
        return np.pi * self._radius(contraction) ** 2 * (tip - top) * _filling() / 1000.0

    def _ends(self, contraction: float) -> tuple[float, float]:
        """Return where the mitral ring and the tip of the cavity are, in mm along the axis."""
        top = self.shortening * contraction * self.length_mm
        return top, self.length_mm * (1.0 - (1.0 - _APEX_STAYS) * contraction)

    def _radius(self, contraction: float) -> float:
        relaxed, contracted = self.radius_mm
        return relaxed + (contracted - relaxed) * contraction


def profile(height: float) -> float:
    """Return the cavity's radius along the axis as a share of its scale; the ring's own above the ring."""
    down = min(max(height, 0.0), 1.0)
    waist = 1.0 - _WAIST * max(0.0, 1.0 - down / 0.3) ** 2
    return float(np.sqrt(1.0 - down**_BLUNTNESS) * waist)


def area_mm2(radius: Array) -> float:
    """Return the area inside a section's curve."""
    return float((radius[:-1] ** 2).mean() * np.pi)


def radii_for(volumes_ml: tuple[float, float], length_mm: float, shortening: float) -> tuple[float, float]:
    """Return the scales of the radius that give the cavity its volumes at end-diastole and end-systole.

    Args:
        volumes_ml: At end-diastole and at end-systole.
        length_mm: See :attr:`Heart.length_mm`.
        shortening: See :attr:`Heart.shortening`.
    """
    lengths = (length_mm, length_mm * (_APEX_STAYS - shortening))
    relaxed, contracted = (
        float(np.sqrt(1000.0 * volume / (np.pi * length * _filling())))
        for volume, length in zip(volumes_ml, lengths, strict=True)
    )
    return relaxed, contracted


@cache
def _filling() -> float:
    """Return the cavity's volume as a share of the cylinder of its length and scale."""
    return float(np.mean([profile((disc + 0.5) / _DISCS) ** 2 for disc in range(_DISCS)]))


def end_systole(phases: int) -> int:
    """Return the phase, from 1, at end-systole: about a third into the beat; end-diastole is the last."""
    return max(1, round(0.35 * phases))


def contraction(phase: int, phases: int) -> float:
    """Return how contracted the heart is at a phase (from 1): exactly 1 at end-systole, 0 at the last."""
    systole = end_systole(phases) / phases
    times = [share * systole for share, _ in _SYSTOLE]
    times += [systole + share * (1.0 - systole) for share, _ in _DIASTOLE]
    values = [value for _, value in (*_SYSTOLE, *_DIASTOLE)]
    return float(np.clip(PchipInterpolator(times, values)(phase / phases), 0.0, 1.0))
