"""Write phantom patients to a folder, in the layout of the 2009 challenge.

::

    challenge_training/SC-PH-01/IM-<series>-<number>.dcm
    contours/TrainingDataContours/SC-PH-01/contours-manual/IRCCI-expert/IM-0001-<number>-icontour-manual.txt
    phantom.json

``<number>`` = slice (from 0) x phases + phase (from 1). As in the challenge there are i-contours at
end-diastole, the last phase, and at end-systole; o-contours at end-diastole alone.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

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
CONTOURS = "contours"
"""Folders below the data set's own, for ``--images`` and ``--contours``."""

_LIMITS = {"patients": (1, 99), "slices": (1, 50), "phases": (2, 100), "size": (64, 1024)}
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
        options = {"seed": seed, "slices": slices, "phases": phases, "size": size, "all_phases": all_phases}
        table = {**options, "patients": [asdict(patient) for patient in written]}
        (staging / SIGNATURE).write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
    return written


def _check(**options: int) -> None:
    for name, value in options.items():
        low, high = _LIMITS[name]
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
    scene = _Scene(patient, size)
    for index in range(patient.slices):
        drawn: dict[int, dict[_Curve, Points]] = {
            phase: dict(scene.contours(index, phase, phases)) for phase in (end_systole(phases), phases)
        }
        wanted = range(1, phases + 1) if all_phases else [phase for phase, curves in drawn.items() if curves]
        for phase, image in scene.images(index, wanted, phases):
            number = Frame(index, phase, phases).number
            (images / f"IM-{series:04d}-{number:04d}.dcm").write_bytes(image)
            for curve, points in drawn.get(phase, {}).items():
                file = contours / f"IM-0001-{number:04d}-{curve}contour-manual.txt"
                file.write_text(format_contour(points), encoding="ascii")
        advance()
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
        images=len(list(images.iterdir())),
        contours=len(list(contours.iterdir())),
    )


_Curve = Literal["i", "o"]


class _Scene:
    """A patient in the scanner: images and contours of any slice and phase."""

    def __init__(self, patient: Patient, size: int) -> None:
        self._patient = patient
        self._size = size
        self._scanner = Scanner(patient, size)
        self._body = Body(patient)
        self._heart = HeartPainter(patient)

    def images(self, index: int, wanted: "range | list[int]", phases: int) -> Iterator[tuple[int, bytes]]:
        """Yield the wanted phases of a slice as DICOM files; each is the same whichever others are wanted."""
        if not wanted:
            return
        z = self._patient.slice_mm(index)
        still, room = self._body.paint(self._scanner.grid, z)
        sensitivity = self._scanner.sensitivity(z)
        for phase in wanted:
            tissue = still.copy()
            self._heart.paint(tissue, room, self._scanner.grid, z, contraction(phase, phases))
            noise = self._patient.generator("noise", index, phase, phases)
            pixels = self._scanner.scan(tissue, sensitivity, noise)
            yield phase, encode(pixels, self._patient, Frame(index, phase, phases))

    def contours(self, index: int, phase: int, phases: int) -> Iterator[tuple[_Curve, Points]]:
        """Yield what an expert would draw: the endocardium, and at end-diastole the epicardium too."""
        z = self._patient.slice_mm(index)
        section = self._patient.heart.section(z, contraction(phase, phases))
        if section.cavity_mm2 < _SMALLEST_SHARE * self._patient.field_of_view_mm**2:
            return
        yield "i", self._points(section.endocardium, z)
        if phase == phases:
            yield "o", self._points(section.epicardium, z)

    def _points(self, radius: Array, z: float) -> Points:
        """Return a curve about the heart's axis as points at half-pixel steps."""
        angles = np.linspace(-np.pi, np.pi, _POINTS, endpoint=False)
        x, y = self._patient.axis_mm(z)
        away = np.interp(angles, ANGLES, radius)
        around = angles + self._patient.turn
        mm = np.stack((x + away * np.cos(around), y + away * np.sin(around)), axis=-1)
        spacing = self._patient.field_of_view_mm / self._size
        halves = np.rint(2.0 * (mm / spacing + (self._size - 1) / 2)) / 2.0
        moved = (halves != np.roll(halves, 1, axis=0)).any(axis=1)
        points: Points = halves[moved]
        return points
