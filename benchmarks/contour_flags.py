"""How often right contours are flagged, and wrong ones found: on an expert's contours, sent as they are and wrongly.

    python benchmarks/contour_flags.py --images SUNNYBROOK --contours SUNNYBROOK [--bundle BUNDLE | --series SERIES]

By the model that comes with lvseg, a bundle, or a cross-validation, whose runs segment the patient left out alone.
The wrong contours are those of the same patients: outer ones, those of the other phase or of another slice of the
same phase, and shifted ones, in the four directions of the rows and columns.
"""

import itertools
import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from lvseg.contour import Points, contour_area_mm2, contour_to_mask
from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.plausibility import Flag, Plausibility, judge_contour
from lvseg.resample import mask_from_working, to_working
from lvseg.shift import Shift, systematic_shift
from lvseg.train.run import load_run
from lvseg.train.series import Series
from lvseg_export.choice import load_engine
from lvseg_export.engines.base import Engine
from lvseg_export.engines.torch import TorchEngine
from lvseg_export.shipped import named_bundle

AWAY = 3  # slices
SHIFTS_MM = (5, 10, 20)
SERIES_SHIFTS_MM = (0, 2, 3, 5)
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1))
DIFFERENCES_MM = (0.0, 3.0, 6.0, math.inf)


@dataclass(frozen=True, eq=False)
class Segmented:
    """A labelled slice with a model's mask."""

    image: LabelledImage
    mask: NDArray[np.bool_]

    def judge(self, contour: Points) -> Plausibility:
        """Return what a contour looks like when it is sent with this slice."""
        slice_ = self.image.slice
        drawn = contour_to_mask(contour, self.mask.shape)
        return judge_contour(slice_.pixels, self.mask, drawn, slice_.pixel_spacing)

    def offset_mm(self, contour: Points) -> tuple[float, float]:
        """Return the centroids' offset."""
        offset = self.judge(contour).offset_mm
        if offset is None:
            raise ValueError(f"{self.image.name}: the mask is empty")
        return offset

    def shifted(self, direction: tuple[int, int], mm: float) -> Points:
        """Return the right contour, shifted in (x, y)."""
        between_rows, between_columns = self.image.slice.pixel_spacing
        return self.image.contour + mm * np.array(direction) / (between_columns, between_rows)


Pair = tuple[Segmented, Segmented]
"""A slice at end-systole and at end-diastole."""


def _segment(image: LabelledImage, engine: Engine, working_spacing_mm: float) -> Segmented:
    pixels = to_working(image.slice.pixels, image.slice.pixel_spacing, working_spacing_mm)
    probability = engine.run(pixels[np.newaxis, np.newaxis]).probability[0]
    return Segmented(image, mask_from_working(probability, image.mask.shape))


def _by_bundle(images: Sequence[LabelledImage], folder: Path | None) -> list[Segmented]:
    bundle = named_bundle(folder)
    engine = load_engine(bundle, "onnxruntime", "fp32")
    return [_segment(image, engine, bundle.manifest.input.working_spacing_mm) for image in images]


def _left_out(images: Sequence[LabelledImage], series: Path) -> list[Segmented]:
    segmented = []
    for name in Series.read(series).runs:
        run = load_run(series / name)
        engine, unseen = TorchEngine(run.model), set(run.record.validation)
        segmented += [
            _segment(image, engine, run.record.working_spacing_mm) for image in images if image.name in unseen
        ]
    return segmented


def _pairs(slices: Sequence[Segmented]) -> list[list[Pair]]:
    """Return each patient's pairs, from one end of the heart to the other; outer contours are of end-diastole."""
    places: defaultdict[str, defaultdict[object, list[Segmented]]] = defaultdict(lambda: defaultdict(list))
    for one in slices:
        places[one.image.patient][one.image.slice.position_mm].append(one)
    patients = []
    for found in places.values():
        both = [sorted(place, key=lambda one: one.image.outer is not None) for place in found.values()]
        patients.append([(place[0], place[1]) for place in both if len(place) == 2])
    return patients


def _flagged(sent: Sequence[tuple[Segmented, Points]]) -> list[frozenset[Flag]]:
    return [one.judge(contour).flags for one, contour in sent]


def _other_phase(pairs: Sequence[Pair], *, drawn_at: int) -> Iterator[tuple[str, list[frozenset[Flag]]]]:
    """Yield the flags of one phase's contours on the other's images, by how much the radii of both differ."""
    names = ("ES at ED", "ED at ES")
    for low, high in itertools.pairwise(DIFFERENCES_MM):
        chosen = [pair for pair in pairs if low <= abs(_radius_mm(pair[1]) - _radius_mm(pair[0])) < high]
        flags = _flagged([(pair[1 - drawn_at], pair[drawn_at].image.contour) for pair in chosen])
        limits = f"{low:g} mm or more" if math.isinf(high) else f"{low:g} to {high:g} mm"
        yield f"{names[drawn_at]}, radii {limits} apart", flags


def _radius_mm(one: Segmented) -> float:
    return math.sqrt(contour_area_mm2(one.image.contour, one.image.slice.pixel_spacing) / math.pi)


def _other_slices(patients: Sequence[Sequence[Pair]]) -> list[tuple[Segmented, Points]]:
    return [
        (pairs[at][phase], pairs[other][phase].image.contour)
        for pairs in patients
        for phase in (0, 1)
        for at, other in itertools.permutations(range(len(pairs)), 2)
        if abs(at - other) == AWAY
    ]


def _experiments(slices: Sequence[Segmented]) -> Iterator[tuple[str, list[frozenset[Flag]]]]:
    patients = _pairs(slices)
    pairs = list(itertools.chain.from_iterable(patients))
    yield "right", _flagged([(one, one.image.contour) for one in slices])
    outer = [(one, one.image.outer) for one in slices if one.image.outer is not None]
    yield "outer", _flagged(outer)
    yield from _other_phase(pairs, drawn_at=1)
    yield from _other_phase(pairs, drawn_at=0)
    yield f"{AWAY} slices away", _flagged(_other_slices(patients))
    for mm in SHIFTS_MM:
        moved = [(one, one.shifted(direction, mm)) for one in slices for direction in DIRECTIONS]
        yield f"shifted by {mm} mm", _flagged(moved)


def _shifts(slices: Sequence[Segmented], mm: float) -> list[Shift]:
    """Return the shift of each patient's contours, in each direction."""
    by_patient: defaultdict[str, list[Segmented]] = defaultdict(list)
    for one in slices:
        by_patient[one.image.patient].append(one)
    shifts = [
        systematic_shift(one.offset_mm(one.shifted(direction, mm)) for one in patient)
        for patient in by_patient.values()
        for direction in (DIRECTIONS if mm else DIRECTIONS[:1])
    ]
    return [shift for shift in shifts if shift is not None]


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}" if whole else "-"


_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--images", required=True, type=_FOLDER)
@click.option("--contours", required=True, type=_FOLDER)
@click.option("--bundle", type=_FOLDER, help="The model.  [default: the one that comes with lvseg]")
@click.option("--series", type=_FOLDER, help="A cross-validation, in the place of a bundle.")
def main(images: Path, contours: Path, bundle: Path | None, series: Path | None) -> None:
    """Print what each kind of contour is flagged as, and whether shifted series are found."""
    labelled = load_all(index_sunnybrook(images, contours).samples).images
    slices = _by_bundle(labelled, bundle) if series is None else _left_out(labelled, series)
    table = Table("contour", "sent", "flagged, %", *Flag)
    for name, flags in _experiments(slices):
        each = [_percent(sum(flag in found for found in flags), len(flags)) for flag in Flag]
        table.add_row(name, str(len(flags)), _percent(sum(map(bool, flags)), len(flags)), *each)
    Console().print(table)
    table = Table("all of a patient shifted by", "series", "systematic", "mean, mm (least to largest)")
    for mm in SERIES_SHIFTS_MM:
        shifts = _shifts(slices, mm)
        lengths = sorted(shift.length_mm for shift in shifts)
        found = sum(shift.systematic for shift in shifts)
        table.add_row(f"{mm} mm", str(len(shifts)), str(found), f"{lengths[0]:.1f} to {lengths[-1]:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
