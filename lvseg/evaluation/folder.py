"""The folder that an evaluation leaves."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lvseg.evaluation.evaluation import Evaluation
from lvseg.evaluation.pictures import draw_bland_altman, draw_gallery
from lvseg.evaluation.tables import write_json, write_patients, write_slices

EVALUATION_FILE = "evaluation.json"


def write_evaluation(evaluation: Evaluation, folder: Path, evaluated: Mapping[str, Any]) -> None:
    """Write slices.csv, patients.csv, evaluation.json, bland_altman.png and gallery.png.

    Args:
        evaluation: What to write; that of a single model, or one pooled from several.
        folder: An existing folder.
        evaluated: What was evaluated, for ``evaluation.json``: anything that JSON can hold.
    """
    write_slices(evaluation, folder / "slices.csv")
    write_patients(evaluation, folder / "patients.csv")
    draw_bland_altman(evaluation, folder / "bland_altman.png")
    draw_gallery(evaluation, folder / "gallery.png")
    write_json(evaluation, folder / EVALUATION_FILE, evaluated)
