"""An evaluation as files for programs: a table of slices, a table of patients, and JSON with all of it."""

import csv
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lvseg.evaluation.evaluation import Evaluation
from lvseg.evaluation.results import SliceResult
from lvseg.evaluation.scores import WAYS, Scores

DEFINITIONS_VERSION = 1
"""Goes up when a figure of the same name comes to mean something else; docs/evaluation.md has the history."""

SLICE_COLUMNS = (
    "patient",
    "slice",
    "phase",
    "dice",
    "apd_mm",
    "hausdorff_mm",
    "good",
    "missed",
    "area_mm2",
    "expert_area_mm2",
    "area_error_mm2",
    "area_error_percent",
    "outline_dice",
    "outline_hausdorff_mm",
    "outline_area_mm2",
)
_OUTLINE = "outline_"
_MEANS = ("dice", "apd_mm", "hausdorff_mm", "area_error_percent", "absolute_area_error_percent")
_COUNTS = ("counted", "measured")
_DECIMALS = {"dice": 4, "apd_mm": 3, "hausdorff_mm": 3}
_DEFAULT_DECIMALS = 2
PATIENT_COLUMNS = (
    "patient",
    "contours",
    "missed",
    "good_percent",
    *(f"{way}_{name}" for way in WAYS for name in (*_COUNTS, *_MEANS)),
)


def write_slices(evaluation: Evaluation, path: Path) -> None:
    """Write a CSV table of all slices. Where a slice has no such figure, its cell is empty."""
    _write(path, SLICE_COLUMNS, (_slice_row(result) for result in evaluation.results))


def write_patients(evaluation: Evaluation, path: Path) -> None:
    """Write a CSV table of the patients' means, in both ways of scoring, with the counts behind them."""
    rows = []
    for patient in evaluation.patients:
        scores = {way: patient.scores(way) for way in WAYS}
        honest = scores["honest"]
        rows.append(
            (
                patient.patient,
                honest.contours,
                honest.missed,
                _cell("good_percent", honest.good_percent),
                *(cell for way in WAYS for cell in _patient_cells(scores[way])),
            )
        )
    _write(path, PATIENT_COLUMNS, rows)


def write_json(evaluation: Evaluation, path: Path, evaluated: Mapping[str, Any]) -> None:
    """Write all figures, unrounded, and what they are of.

    Args:
        evaluation: The figures.
        path: The file to write.
        evaluated: What was evaluated, such as the bundle and its digest: anything that JSON can hold.
    """
    document = {
        "definitions_version": DEFINITIONS_VERSION,
        "evaluated": dict(evaluated),
        "contours": len(evaluation.results),
        "patients": [patient.patient for patient in evaluation.patients],
        "means": {
            way: {
                "over_slices": dataclasses.asdict(evaluation.scores(way)),
                "over_patients": dataclasses.asdict(evaluation.across_patients(way)),
                "by_patient": {
                    patient.patient: dataclasses.asdict(patient.scores(way))
                    for patient in evaluation.patients
                },
            }
            for way in WAYS
        },
        "areas": dataclasses.asdict(evaluation.areas),
        "slices": [
            dict(zip(SLICE_COLUMNS, _slice_figures(result), strict=True)) for result in evaluation.results
        ],
    }
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _slice_figures(result: SliceResult) -> tuple[str | float | bool | None, ...]:
    """Return a slice's figures in the order of ``SLICE_COLUMNS``."""
    figures = (
        getattr(result.outline, column.removeprefix(_OUTLINE))
        if column.startswith(_OUTLINE)
        else getattr(result, column)
        for column in SLICE_COLUMNS[2:]
    )
    return (result.patient, result.name, *figures)


def _slice_row(result: SliceResult) -> Sequence[object]:
    return [_cell(column, value) for column, value in zip(SLICE_COLUMNS, _slice_figures(result), strict=True)]


def _patient_cells(scores: Scores) -> list[object]:
    counts: list[object] = [getattr(scores, name) for name in _COUNTS]
    return counts + [_cell(name, getattr(scores, name)) for name in _MEANS]


def _cell(column: str, value: str | float | bool | None) -> object:
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return f"{value:.{_DECIMALS.get(column.removeprefix(_OUTLINE), _DEFAULT_DECIMALS)}f}"
    return "" if value is None else value


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
