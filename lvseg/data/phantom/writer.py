"""Write phantom patients to a folder, in the layout of the 2009 challenge.

::

    challenge_training/SC-PH-01/IM-<series>-<number>.dcm
    contours/TrainingDataContours/SC-PH-01/contours-manual/IRCCI-expert/IM-0001-<number>-icontour-manual.txt
    phantom.json

``<number>`` = slice (from 0) x phases + phase (from 1). As in the challenge there are i-contours at
end-diastole, the last phase, and at end-systole; o-contours at end-diastole alone.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np

from lvseg import __version__
from lvseg.contour import Points, format_contour
from lvseg.data.phantom.body import Body
from lvseg.data.phantom.dicom import Frame, encode, series_number
from lvseg.data.phantom.fields import Array
from lvseg.data.phantom.heart import ANGLES, contraction, end_systole
from lvseg.data.phantom.patient import Kind, Patient, draw_patient
from lvseg.data.phantom.scanner import Scanner
from lvseg.data.phantom.ventricles import HeartPainter
from lvseg.errors import OptionError
from lvseg.folders import new_folder

SIGNATURE = "phantom.json"
"""File by which a folder of phantoms is known."""

IMAGES = "challenge_training"
"""Folder of the images, below the data set's own."""

CONTOURS = "contours"
"""Folder of the contours, below the data set's own."""

LIMITS = {"patients": (1, 99), "slices": (1, 50), "phases": (2, 100), "size": (64, 1024)}
"""Lowest and highest value of what a caller chooses."""

_Curve: TypeAlias = Literal["i", "o"]
_SMALLEST_SHARE = 0.001  # of the image: nobody draws a smaller cavity (the least in Sunnybrook's is 0.0013)
_POINTS = 1440  # before they are brought to half-pixel steps


@dataclass(frozen=True, kw_only=True)
class PhantomPatient:
    """What is known of a phantom patient and a reader may want to compare with; the rows of phantom.json."""

    name: str
    kind: Kind
    edv_ml: float
    """Volume of the cavity at end-diastole, papillary muscles counted in: of the anatomy, not its slices."""
    esv_ml: float
    """The same at end-systole."""
    ef_percent: float
    wall_mm: float
    """Mean thickness of the myocardium at end-diastole, half-way from base to apex."""
    pixel_spacing_mm: float
    slice_spacing_mm: float
    heart_rate: int
    end_diastolic_phase: int
    end_systolic_phase: int
    images: int
    contours: int


def write_phantoms(
    folder: Path,
    patients: int = 8,
    seed: int = 1,
    *,
    slices: int = 9,
    phases: int = 20,
    size: int = 256,
    all_phases: bool = False,
    overwrite: bool = False,
    advance: Callable[[], object] = lambda: None,
) -> tuple[PhantomPatient, ...]:
    """Write a seeded data set of phantom patients: the same arguments give the same bytes.

    Args:
        folder: Where; it is written whole or not at all.
        patients: How many, 1 to 99. Patient n does not depend on how many there are.
        seed: 0 or above.
        slices: From base to apex, 1 to 50; their spacing follows from it.
        phases: Of the heartbeat, 2 to 100.
        size: Rows, and columns, of the images, 64 to 1024. The field of view does not depend on it.
        all_phases: Whether to write all phases, instead of the images that have a contour.
        overwrite: Whether a former data set may be replaced.
        advance: Called after each of the ``patients * slices`` stacks of phases.

    Raises:
        OptionError: If a number is out of range, or ``folder`` holds something that may not be replaced.
    """
    _check(patients=patients, slices=slices, phases=phases, size=size)
    if seed < 0:
        raise OptionError(
            f"--seed {seed} is negative: give 0 or above", reason="OUT_OF_RANGE", field="--seed"
        )
    with new_folder(folder, signature=SIGNATURE, overwrite=overwrite) as staging:
        written = tuple(
            _write_patient(staging, draw_patient(seed, number, slices), phases, size, all_phases, advance)
            for number in range(1, patients + 1)
        )
        options = {
            "lvseg": __version__,
            "seed": seed,
            "slices": slices,
            "phases": phases,
            "size": size,
            "all_phases": all_phases,
        }
        table = {**options, "patients": [asdict(patient) for patient in written]}
        (staging / SIGNATURE).write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return written


def _check(**options: int) -> None:
    for name, value in options.items():
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise OptionError(
                f"--{name} {value} is out of range: give {low} to {high}",
                reason="OUT_OF_RANGE",
                field=f"--{name}",
                expected=f"{low} to {high}",
            )


def _write_patient(
    folder: Path, patient: Patient, phases: int, size: int, all_phases: bool, advance: Callable[[], object]
) -> PhantomPatient:
    images = folder / IMAGES / patient.name
    contours = folder / CONTOURS / "TrainingDataContours" / patient.name / "contours-manual" / "IRCCI-expert"
    images.mkdir(parents=True)
    contours.mkdir(parents=True)
    series = series_number(patient)
    scene = _Scene(patient, size, phases)
    for index in range(patient.slices):
        curves = {phase: scene.contours(index, phase) for phase in (end_systole(phases), phases)}
        for phase, drawn in curves.items():
            for curve, points in drawn.items():
                name = f"IM-0001-{_number(index, phase, phases)}-{curve}contour-manual.txt"
                (contours / name).write_text(format_contour(points), encoding="ascii")
        chosen = range(1, phases + 1) if all_phases else [phase for phase, drawn in curves.items() if drawn]
        for phase, image in scene.images(index, chosen):
            (images / f"IM-{series:04d}-{_number(index, phase, phases)}.dcm").write_bytes(image)
        advance()
    return _summarise(patient, phases, size, len(list(images.iterdir())), len(list(contours.iterdir())))


def _number(index: int, phase: int, phases: int) -> str:
    return f"{Frame(index, phase, phases).number:04d}"


def _summarise(patient: Patient, phases: int, size: int, images: int, contours: int) -> PhantomPatient:
    heart = patient.heart
    relaxed, contracted = heart.volume_ml(0.0), heart.volume_ml(1.0)
    middle = heart.section(heart.length_mm / 2, 0.0)
    return PhantomPatient(
        name=patient.name,
        kind=patient.kind,
        edv_ml=round(relaxed, 1),
        esv_ml=round(contracted, 1),
        ef_percent=round(100.0 * (1.0 - contracted / relaxed), 1),
        wall_mm=round(float((middle.epicardium - middle.endocardium).mean()), 1),
        pixel_spacing_mm=round(patient.field_of_view_mm / size, 6),
        slice_spacing_mm=patient.slice_spacing_mm,
        heart_rate=patient.heart_rate,
        end_diastolic_phase=phases,
        end_systolic_phase=end_systole(phases),
        images=images,
        contours=contours,
    )


class _Scene:
    """A patient in the scanner: images and contours of any slice and phase."""

    def __init__(self, patient: Patient, size: int, phases: int) -> None:
        self._patient = patient
        self._size = size
        self._phases = phases
        self._scanner = Scanner(patient, size)
        self._body = Body(patient)
        self._heart = HeartPainter(patient)

    def images(self, index: int, phases: Iterable[int]) -> Iterator[tuple[int, bytes]]:
        """Yield phases of a slice as DICOM files; each is the same whichever others are wanted."""
        grid, z = self._scanner.grid, self._patient.slice_mm(index)
        still, room = self._body.paint(grid, z)
        sensitivity = self._scanner.sensitivity(z)
        for phase in phases:
            tissue = still.copy()
            self._heart.paint(tissue, room, grid, z, contraction(phase, self._phases))
            noise = self._patient.generator("noise", index, phase)
            pixels = self._scanner.scan(tissue, sensitivity, noise)
            yield phase, encode(pixels, self._patient, Frame(index, phase, self._phases))

    def contours(self, index: int, phase: int) -> dict[_Curve, Points]:
        """Return what an expert would draw: the endocardium, and at end-diastole the epicardium too."""
        z = self._patient.slice_mm(index)
        section = self._patient.heart.section(z, contraction(phase, self._phases))
        if section.cavity_mm2 < _SMALLEST_SHARE * self._patient.field_of_view_mm**2:
            return {}
        drawn: dict[_Curve, Points] = {"i": self._points(section.endocardium, z)}
        if phase == self._phases:
            drawn["o"] = self._points(section.epicardium, z)
        return drawn

    def _points(self, radius: Array, z: float) -> Points:
        """Return a curve about the heart's axis as points at half-pixel steps, ``(column, row)``."""
        angles = np.linspace(-np.pi, np.pi, _POINTS, endpoint=False)
        x, y = self._patient.axis_mm(z)
        away, turned = np.interp(angles, ANGLES, radius), angles + self._patient.turn
        mm = np.stack((x + away * np.cos(turned), y + away * np.sin(turned)), axis=-1)
        spacing = self._patient.field_of_view_mm / self._size
        halves = np.rint(2.0 * (mm / spacing + (self._size - 1) / 2)) / 2.0
        points: Points = halves[(halves != np.roll(halves, 1, axis=0)).any(axis=1)]
        return points
