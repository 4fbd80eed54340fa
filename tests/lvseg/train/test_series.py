import shutil
from pathlib import Path

import pytest

from lvseg.errors import OptionError, RunError
from lvseg.train.options import RunRecord, TrainOptions
from lvseg.train.recipes import RECIPES
from lvseg.train.series import SERIES_FILE, Series, leave_one_out, sweep


def options(**changes: object) -> TrainOptions:
    return TrainOptions.following(RECIPES["scratch-fcn8s"], images="/images", contours="/contours", **changes)


def test_a_sweep_trains_each_rate_with_each_batch_size():
    runs = sweep(options(), [0.1, 0.01], [1, 4]).runs
    assert {name: (run.learning_rate, run.batch_size) for name, run in runs.items()} == {
        "rate-0.1-batch-1": (0.1, 1),
        "rate-0.1-batch-4": (0.1, 4),
        "rate-0.01-batch-1": (0.01, 1),
        "rate-0.01-batch-4": (0.01, 4),
    }


def test_each_patient_is_left_out_once_and_looked_at_at_the_end_alone():
    runs = leave_one_out(options(epochs=30, validation_percent=10.0), ["A", "B"]).runs
    assert {name: run.validate for name, run in runs.items()} == {"A": ("A",), "B": ("B",)}
    assert {run.validation_interval for run in runs.values()} == {30}
    assert {run.validation_percent for run in runs.values()} == {None}


def test_what_a_cloned_run_was_validated_by_does_not_matter():
    runs = leave_one_out(options(validate=("A",), early_stopping=3), ["A", "B"]).runs
    assert {name: (run.validate, run.early_stopping) for name, run in runs.items()} == {
        "A": (("A",), None),
        "B": (("B",), None),
    }


@pytest.mark.parametrize("change", [("--validate", "A"), ("--early-stopping", "3"), ("--leave-none-out",)])
def test_nothing_of_the_patient_left_out_may_decide(lvseg_train, few_options, tmp_path, change):
    data = [few_options[0], few_options[1], few_options[2], few_options[3]]
    training = lvseg_train.run(*data, "--cross-validate", *change, "--out", tmp_path / "runs")
    assert training.exit_code == 2
    assert training.last_line.endswith(f"when all is over; leave out {change[0]}")


def test_rates_are_not_compared_on_slices_that_were_trained_on(lvseg_train, few_options, tmp_path):
    rates = ["--learning-rate", 1e-3, "--learning-rate", 1e-4]
    training = lvseg_train.run(*few_options[:4], "--leave-none-out", *rates, "--out", tmp_path / "runs")
    assert training.exit_code == 2
    assert "keeps no slice to compare them on" in training.last_line


def test_one_patient_cannot_be_left_out():
    with pytest.raises(OptionError, match="needs two patients at least, found 1"):
        leave_one_out(options(), ["A"])


def test_a_series_reads_back_as_it_was_written(tmp_path):
    series = sweep(options(), [0.1], [1, 4])
    series.write(tmp_path)
    assert Series.read(tmp_path) == series


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "sweep", "runs": {"a": {}}}'])
def test_a_series_that_is_not_ours_is_refused(tmp_path, text):
    (tmp_path / SERIES_FILE).write_text(text)
    with pytest.raises(RunError, match="is not the series of this lvseg"):
        Series.read(tmp_path)


@pytest.fixture(scope="module")
def cross_validation(lvseg_train, tiny_training: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two phantom patients, each left out once; read-only."""
    folder = tmp_path_factory.mktemp("runs") / "cross-validation"
    options = [word for word in tiny_training[1:] if word not in ("--validate", "SC-PH-02")]
    training = lvseg_train.run(*options, "--cross-validate", "--epochs", 10, "--out", folder)
    assert training.exit_code == 0, training.output
    return folder


def test_a_cross_validation_leaves_a_run_for_each_patient(cross_validation):
    for patient in ("SC-PH-1", "SC-PH-2"):
        record = RunRecord.read(cross_validation / patient)
        assert {name.split("/")[0] for name in record.validation} == {patient}
        assert patient not in {name.split("/")[0] for name in record.training}


def test_a_cross_validation_reports_all_patients_together(cross_validation):
    patients = (cross_validation / "patients.csv").read_text()
    assert "SC-PH-1" in patients
    assert "SC-PH-2" in patients


def test_a_series_that_was_interrupted_goes_on_where_it_was(cross_validation, lvseg_train, tmp_path):
    folder = tmp_path / "interrupted"
    shutil.copytree(cross_validation, folder)
    shutil.rmtree(folder / "SC-PH-2")
    kept = (folder / "SC-PH-1/checkpoints/best.ckpt").stat().st_mtime_ns
    resumed = lvseg_train.run("--resume", folder, "--threads", 1)
    assert resumed.exit_code == 0, resumed.output
    assert (folder / "SC-PH-1/checkpoints/best.ckpt").stat().st_mtime_ns == kept
    assert (folder / "slices.csv").read_text() == (cross_validation / "slices.csv").read_text()
