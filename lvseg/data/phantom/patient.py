"""Who is scanned: the anatomy, the position and the scanner's settings of one phantom patient."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from lvseg.data.phantom.fields import Point
from lvseg.data.phantom.heart import Heart, radii_for

Kind = Literal["healthy", "failing", "hypertrophic"]
FieldOfView = Literal["whole", "circle", "bowed"]
Part = Literal["patient", "body", "heart", "coils", "noise"]

FRONT: Point = (-0.60, -0.80)
"""Unit vector from the heart to where the front of the chest is nearest, before the body is turned."""

# The two cycles have no common divisor, so that every kind of heart meets every field of view.
_KINDS: tuple[Kind, ...] = ("healthy", "failing", "hypertrophic")
_FIELDS_OF_VIEW: tuple[FieldOfView, ...] = ("bowed", "circle", "whole", "bowed")
_PARTS: tuple[Part, ...] = ("patient", "body", "heart", "coils", "noise")
_THICKEST_SLICE_MM = 8.0


@dataclass(frozen=True)
class _Ranges:
    """Lowest and highest value of what tells kinds of hearts apart."""

    end_diastolic_ml: Point
    ejection: Point
    length_mm: Point
    wall_mm: Point
    shortening: Point
    septal_excess: Point
    akinesia: Point


_RANGES: dict[Kind, _Ranges] = {
    "healthy": _Ranges(
        (105.0, 155.0), (0.55, 0.68), (80.0, 90.0), (7.5, 9.5), (0.12, 0.17), (0.0, 0.1), (0.0, 0.03)
    ),
    "failing": _Ranges(
        (170.0, 260.0), (0.16, 0.38), (86.0, 100.0), (6.5, 8.5), (0.04, 0.08), (0.0, 0.1), (0.0, 0.15)
    ),
    "hypertrophic": _Ranges(
        (75.0, 115.0), (0.64, 0.76), (76.0, 86.0), (12.5, 17.0), (0.09, 0.13), (0.05, 0.3), (0.0, 0.02)
    ),
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Patient:
    """One phantom patient on the table."""

    seed: int
    number: int
    """From 1; with the seed it fixes everything below."""
    kind: Kind
    heart: Heart
    heart_rate: int
    """Beats a minute."""
    build: float
    """0: lean, 1: stout."""
    size: float
    """Scale of the body around the heart."""
    fat_mm: float
    """Thickness of the fat below the skin, on average."""
    wall_mm: float
    """Thickness of the chest's wall between that fat and the lungs."""
    front_mm: float
    """From the heart's axis to the skin, where it is nearest."""
    turn: float
    """By which the body is turned in the image, radians from x towards y."""
    centre_mm: Point
    """Where the heart's axis passes through the mitral ring, from the centre of the image."""
    tilt: Point
    """By how much the axis moves across the image for each mm from base to apex."""
    field_of_view_mm: float
    """Side of the square image."""
    field_of_view: FieldOfView
    """What the reconstruction leaves of the square."""
    slice_spacing_mm: float
    first_slice_mm: float
    """Where the first slice cuts the heart's axis, below the end-diastolic mitral ring."""
    slices: int
    shading: float
    """Exponent of the coils' sensitivity: 0 is a perfectly corrected image."""
    blood: float
    """Stored value of blood at the heart."""
    myocardium: float
    """Signal of the myocardium, as a share of that of blood."""
    noise: float
    """Standard deviation of the noise, as a share of the signal of blood."""
    phase_resolution: float
    """Share of the phase-encoding lines that are measured."""

    @property
    def name(self) -> str:
        """The case, such as ``SC-PH-01``."""
        return f"SC-PH-{self.number:02d}"

    @property
    def slice_thickness_mm(self) -> float:
        """Thickness of a slice; what is left of the spacing is a gap."""
        return min(_THICKEST_SLICE_MM, self.slice_spacing_mm)

    @property
    def depth_mm(self) -> float:
        """A depth below the mitral ring that no slice exceeds."""
        return self.first_slice_mm + self.slices * self.slice_spacing_mm

    def slice_mm(self, index: int) -> float:
        """Return where slice ``index``, from 0, cuts the heart's axis."""
        return self.first_slice_mm + index * self.slice_spacing_mm

    def axis_mm(self, z: float) -> Point:
        """Return where the heart's axis passes through the plane ``z``, from the centre of the image."""
        return self.centre_mm[0] + self.tilt[0] * z, self.centre_mm[1] + self.tilt[1] * z

    def generator(self, part: Part, *more: int) -> np.random.Generator:
        """Return the random numbers of one part of this patient, independent of all other parts'."""
        return _generator(self.seed, self.number, part, *more)


def draw_patient(seed: int, number: int, slices: int) -> Patient:
    """Return patient ``number``, from 1, whose heart ``slices`` slices cover from base to apex.

    Of all that is drawn only the slices' spacing depends on ``slices``, and nothing on how many patients
    there are.
    """
    rng = _generator(seed, number, "patient")
    kind = _KINDS[(number - 1) % len(_KINDS)]
    heart = _draw_heart(rng, kind)
    build = rng.beta(1.6, 2.2)
    fat, wall = 5.0 + 15.0 * build + rng.uniform(0.0, 3.0), rng.uniform(9.0, 13.0)
    front = fat + wall + 0.62 * (heart.outer_radius_mm + heart.right_width_mm) + rng.uniform(12.0, 20.0)
    smallest_pixel = 1.32 if kind == "failing" else 1.20  # a large heart needs a large field of view
    spacing = round(heart.length_mm * rng.uniform(0.97, 1.05) / slices, 1)
    lying = np.pi / 2 if rng.random() < 0.15 else 0.0  # some stacks are planned with the feet to the left
    return Patient(
        seed=seed,
        number=number,
        kind=kind,
        heart=heart,
        heart_rate=int(rng.integers(52, 92)),
        build=build,
        size=rng.normal(1.0, 0.05),
        fat_mm=fat,
        wall_mm=wall,
        front_mm=front,
        turn=rng.normal(0.0, 0.18) + lying,
        centre_mm=(rng.normal(0.0, 9.0), rng.normal(-6.0, 9.0)),
        tilt=(rng.normal(0.02, 0.06), rng.normal(-0.03, 0.05)),
        field_of_view_mm=round(256 * rng.uniform(smallest_pixel, 1.45), 1),
        field_of_view=_FIELDS_OF_VIEW[(number - 1) % len(_FIELDS_OF_VIEW)],
        slice_spacing_mm=spacing,
        first_slice_mm=spacing * rng.uniform(0.15, 0.5),
        slices=slices,
        shading=rng.uniform(1.0, 1.6),
        blood=rng.uniform(150.0, 280.0),
        myocardium=rng.uniform(0.27, 0.38),
        noise=rng.uniform(0.02, 0.05),
        phase_resolution=rng.uniform(0.7, 0.9),
    )


def _draw_heart(rng: np.random.Generator, kind: Kind) -> Heart:
    ranges = _RANGES[kind]
    relaxed_ml, ejection = rng.uniform(*ranges.end_diastolic_ml), rng.uniform(*ranges.ejection)
    length, shortening = rng.uniform(*ranges.length_mm), rng.uniform(*ranges.shortening)
    return Heart(
        length_mm=length,
        radius_mm=radii_for((relaxed_ml, relaxed_ml * (1.0 - ejection)), length, shortening),
        shortening=shortening,
        wall_mm=rng.uniform(*ranges.wall_mm),
        septum=np.pi + rng.normal(0.22, 0.18),
        septal_excess=rng.uniform(*ranges.septal_excess),
        outline=rng.normal(0.0, 1.0, (3, 2)) * np.array([[0.03], [0.012], [0.008]]),
        akinesia=(rng.uniform(-np.pi, np.pi), rng.uniform(*ranges.akinesia)),
        right_width_mm=rng.uniform(28.0, 42.0),
    )


def _generator(seed: int, number: int, part: Part, *more: int) -> np.random.Generator:
    return np.random.default_rng((seed, number, _PARTS.index(part), *more))
