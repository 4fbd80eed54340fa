"""What a model's recipe is worth on patients that it was not trained on: the figures of a cross-validation."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvseg.errors import OptionError, RunError
from lvseg.evaluation.folder import EVALUATION_FILE
from lvseg.train.options import RunRecord, TrainOptions
from lvseg.train.series import SERIES_FILE, Series

# Which slices are left out, where they lie and what computes: not what the recipe is.
_BESIDE_THE_RECIPE = frozenset(
    {
        "summary",
        "images",
        "contours",
        "validate",
        "validation_percent",
        "leave_none_out",
        "validation_interval",
    }
    | {"snapshot_interval", "early_stopping", "strict", "seed", "devices", "nodes", "compile", "workers"}
)


@dataclass(frozen=True, kw_only=True)
class CrossValidation:
    """Means over whole slices, every contour counted, each patient judged by a training on the others."""

    patients: int
    slices: int
    dice: float
    lowest_patient_dice: float
    highest_patient_dice: float
    apd_mm: float | None
    """``None``: nothing was found on any slice."""
    good_percent: float


def read_cross_validation(folder: Path, record: RunRecord) -> CrossValidation:
    """Read the figures of a finished ``lvseg-train --cross-validate``.

    Args:
        folder: What it wrote.
        record: Of the run to be exported: the trainings of the series have to differ from it by what they leave out
            alone, and to have left out each of its slices once.

    Raises:
        RunError: If the folder is not a cross-validation, or not a finished one.
        OptionError: If its trainings, or its slices, were others than the run's.
    """
    path = folder / EVALUATION_FILE
    series = Series.read(folder) if (folder / SERIES_FILE).is_file() else None
    if series is None or series.kind != "cross-validation" or not path.is_file():
        raise RunError(
            f"{folder} is not a finished cross-validation; write one with lvseg-train --cross-validate, or finish it "
            f"with lvseg-train --resume {folder}",
            reason="NO_CROSS_VALIDATION",
            field="--cross-validation",
        )
    recipe = _recipe(record.options)
    for name, one in series.runs.items():
        differing = [field for field, value in _recipe(one).items() if recipe[field] != value]
        if differing:
            raise OptionError(
                f"{folder / name} was trained with another {' and '.join(differing)} than the run: its figures say "
                "nothing of this model; cross-validate with the run's options (lvseg-train --like RUN "
                "--cross-validate)",
                reason="OTHER_RECIPE",
                field="--cross-validation",
            )
    left_out = [name for one in series.runs for name in RunRecord.read(folder / one).validation]
    differing_slices = set(left_out) ^ {*record.training, *record.validation}
    if differing_slices:
        raise OptionError(
            f"{folder} left out other slices than the run was made of ({len(differing_slices)} differ): its figures "
            "say nothing of this model; cross-validate on the run's data",
            reason="OTHER_DATA",
            field="--cross-validation",
        )
    return _parse(path)


def _recipe(options: TrainOptions) -> dict[str, Any]:
    values = dataclasses.asdict(options)
    return {name: value for name, value in values.items() if name not in _BESIDE_THE_RECIPE}


def _parse(path: Path) -> CrossValidation:
    try:
        honest = json.loads(path.read_bytes())["means"]["honest"]
        pooled, patients = honest["over_slices"], honest["by_patient"].values()
        dices = [patient["dice"] for patient in patients]
        return CrossValidation(
            patients=len(dices),
            slices=pooled["contours"],
            dice=pooled["dice"],
            lowest_patient_dice=min(dices),
            highest_patient_dice=max(dices),
            apd_mm=pooled["apd_mm"],
            good_percent=pooled["good_percent"],
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"{path} is not the evaluation of this lvseg ({error}); write it anew with lvseg-train --resume "
            f"{path.parent}",
            reason="MALFORMED_RUN",
            field="--cross-validation",
        ) from error
