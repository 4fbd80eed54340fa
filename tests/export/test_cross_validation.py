import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lvseg.errors import OptionError, RunError
from lvseg.evaluation.folder import EVALUATION_FILE
from lvseg.train.options import RunRecord, TrainOptions
from lvseg.train.recipes import RECIPES
from lvseg.train.series import leave_one_out, sweep
from lvseg_export.cross_validation import CrossValidation, read_cross_validation

ALL = ["A/1", "A/2", "B/1", "B/2"]


def options(**changes: Any) -> TrainOptions:
    folders = {"images": "/images", "contours": "/contours"}
    return TrainOptions.following(RECIPES["scratch-fcn8s"], **{**folders, **changes})


def record(training: Sequence[str] = (), validation: Sequence[str] = (), **changes: Any) -> RunRecord:
    return RunRecord(
        options=options(**changes),
        working_spacing_mm=1.0,
        training=list(training),
        validation=list(validation),
        versions={},
    )


def series(folder: Path, **changes: Any) -> Path:
    """A cross-validation of two patients with two contours each."""
    leave_one_out(options(**changes), ["A", "B"]).write(folder)
    for patient in ("A", "B"):
        (folder / patient).mkdir()
        record(validation=[f"{patient}/1", f"{patient}/2"], validate=(patient,)).write(folder / patient)
    honest = {
        "over_slices": {"contours": 4, "dice": 0.9, "apd_mm": None, "good_percent": 50.0},
        "by_patient": {"A": {"dice": 0.95}, "B": {"dice": 0.85}},
    }
    (folder / EVALUATION_FILE).write_text(json.dumps({"means": {"honest": honest}}))
    return folder


def test_the_figures_are_those_of_the_slices_together_and_of_each_patient(tmp_path):
    final = {"leave_none_out": True, "validation_interval": 150, "images": "/elsewhere", "seed": 7}
    assert read_cross_validation(series(tmp_path), record(ALL, ALL, **final)) == CrossValidation(
        patients=2,
        slices=4,
        dice=0.9,
        lowest_patient_dice=0.85,
        highest_patient_dice=0.95,
        apd_mm=None,
        good_percent=50.0,
    )


def test_figures_of_another_recipe_are_refused(tmp_path):
    network = dataclasses.replace(options().network, width=0.5)
    with pytest.raises(OptionError, match="trained with another network and epochs than the run"):
        read_cross_validation(series(tmp_path), record(ALL, network=network, epochs=50))


@pytest.mark.parametrize(
    ("training", "validation"), [(["A/1", "A/2", "B/1"], []), (["A/1", "A/2"], ["B/1", "B/3"])]
)
def test_figures_of_other_slices_are_refused(tmp_path, training, validation):
    with pytest.raises(OptionError, match=r"left out other slices than the run was made of \([12] differ\)"):
        read_cross_validation(series(tmp_path), record(training, validation))


def test_a_run_that_left_a_patient_out_is_made_of_both_sides(tmp_path):
    crossed = series(tmp_path)
    assert read_cross_validation(crossed, record(ALL[:2], ALL[2:], validate=("B",))).patients == 2


def test_a_folder_that_is_no_cross_validation_is_refused(tmp_path):
    with pytest.raises(RunError, match="is not a finished cross-validation; write one with"):
        read_cross_validation(tmp_path, record(ALL))


def test_a_comparison_of_rates_is_no_cross_validation(tmp_path):
    sweep(options(), [1e-3, 1e-4], [4]).write(tmp_path)
    (tmp_path / EVALUATION_FILE).write_text("{}")
    with pytest.raises(RunError, match="is not a finished cross-validation"):
        read_cross_validation(tmp_path, record(ALL))


def test_a_cross_validation_that_is_not_finished_is_refused(tmp_path):
    (series(tmp_path) / EVALUATION_FILE).unlink()
    with pytest.raises(RunError, match="finish it with lvseg-train --resume"):
        read_cross_validation(tmp_path, record(ALL))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"means": {"honest": {"by_patient": {}}}}'])
def test_an_evaluation_that_is_not_ours_is_refused(tmp_path, text):
    (series(tmp_path) / EVALUATION_FILE).write_text(text)
    with pytest.raises(RunError, match="is not the evaluation of this lvseg"):
        read_cross_validation(tmp_path, record(ALL))
