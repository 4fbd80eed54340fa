"""Trainings killed at awkward moments: resumed, they end as if nothing had happened."""

import csv
import itertools
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from lvseg.train.run import BEST, LAST

UNFINISHED = LAST.with_name(".last.ckpt.unfinished")


def metrics(run: Path) -> list[dict[str, str]]:
    path = run / "metrics.csv"
    if not path.exists():
        return []
    with path.open(newline="") as stream:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(stream)
        ]


def tensors(value: object, name: str = "") -> dict[str, torch.Tensor]:
    """Return every tensor of a checkpoint by its place in it: weights, averages, the solver's state."""
    if isinstance(value, torch.Tensor):
        return {name: value}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {key: tensor for place, part in items for key, tensor in tensors(part, f"{name}/{place}").items()}


def assert_same_checkpoint(one: Path, other: Path) -> None:
    contents = [torch.load(path, weights_only=True) for path in (one, other)]
    assert contents[0]["lvseg_scores"] == contents[1]["lvseg_scores"]
    found, expected = map(tensors, contents)
    assert found.keys() == expected.keys()
    assert len(found) > 50
    differing = [name for name, tensor in found.items() if not torch.equal(tensor, expected[name])]
    assert differing == []


def assert_same_run(one: Path, other: Path) -> None:
    assert metrics(one) == metrics(other)
    assert (one / "confusion.csv").read_text() == (other / "confusion.csv").read_text()
    for checkpoint in (BEST, LAST):
        assert_same_checkpoint(one / checkpoint, other / checkpoint)
    assert list(one.rglob("*.unfinished")) == []


@pytest.fixture(scope="module")
def uninterrupted(lvseg_train, few_options: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed; read-only."""
    folder = tmp_path_factory.mktemp("runs") / "uninterrupted"
    training = lvseg_train.run(*few_options, "--out", folder)
    assert training.exit_code == 0, training.output
    return folder


def epochs(count: int) -> Callable[[Path], bool]:
    return lambda run: len(metrics(run)) >= count


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "the run has begun": lambda run: (run / "options.json").exists(),
    "the first checkpoint is being written": lambda run: (run / UNFINISHED).exists(),
    "a later checkpoint is being written": lambda run: len(metrics(run)) >= 3 and (run / UNFINISHED).exists(),
    "an epoch's row is written, its checkpoint is not": epochs(3),
    "a validation is on the way": lambda run: (run / "history/epoch-0004.npz").exists(),
    "the best checkpoint gets its name": lambda run: (run / BEST).exists(),
    "the last epoch has ended": epochs(6),
}


@pytest.mark.parametrize("moment", MOMENTS.values(), ids=MOMENTS)
def test_a_killed_training_ends_as_one_that_was_not(
    uninterrupted, lvseg_train, few_options, tmp_path, moment
):
    run = tmp_path / "run"
    lvseg_train.start(*few_options, "--out", run).kill_when(lambda: moment(run))
    assert not (run / "report.html").exists()
    resumed = lvseg_train.run("--resume", run, "--threads", 1)
    assert resumed.exit_code == 0, resumed.output
    assert_same_run(run, uninterrupted)


def test_a_training_killed_again_and_again_comes_to_its_end(
    uninterrupted, lvseg_train, few_options, tmp_path
):
    run = tmp_path / "run"
    lvseg_train.start(*few_options, "--out", run).kill_when(lambda: epochs(1)(run))
    for delay in (0.9, 1.3):
        patience = time.monotonic() + delay
        again = lvseg_train.start("--resume", run, "--threads", 1)
        again.kill_when(lambda until=patience: time.monotonic() > until)
    assert lvseg_train.run("--resume", run, "--threads", 1).exit_code == 0
    assert_same_run(run, uninterrupted)


def test_loading_processes_change_nothing_after_a_resumption_either(
    uninterrupted, lvseg_train, few_options, tmp_path
):
    run = tmp_path / "run"
    training = lvseg_train.start(*few_options, "--out", run, "--workers", 2)
    training.kill_when(lambda: (run / LAST).exists() and epochs(3)(run))
    assert lvseg_train.run("--resume", run, "--threads", 1).exit_code == 0
    assert_same_run(run, uninterrupted)


def test_a_best_checkpoint_that_got_no_name_gets_it_later(uninterrupted, lvseg_train, few_options, tmp_path):
    run = tmp_path / "run"
    options = [*few_options, "--epochs", 1, "--validation-interval", 1]
    assert lvseg_train.run(*options, "--out", run).exit_code == 0
    shutil.copy(run / BEST, tmp_path / "expected.ckpt")
    (run / BEST).unlink()
    assert lvseg_train.run("--resume", run, "--threads", 1).exit_code == 0
    assert_same_checkpoint(run / BEST, tmp_path / "expected.ckpt")


def test_a_finished_training_stays_as_it_is(uninterrupted, lvseg_train, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(uninterrupted, run)
    before = (run / LAST).read_bytes()
    assert lvseg_train.run("--resume", run, "--threads", 1).exit_code == 0
    assert (run / LAST).read_bytes() == before
    assert_same_run(run, uninterrupted)


@pytest.fixture(scope="module")
def ended_early(lvseg_train, few_options, tmp_path_factory) -> tuple[Path, str]:
    """A run at so low a rate that nothing gets better, ended after its third validation; and what it said."""
    run = tmp_path_factory.mktemp("runs") / "early"
    options = ["--epochs", 50, "--validation-interval", 1, "--learning-rate", 1e-12, "--early-stopping", 2]
    training = lvseg_train.run(*few_options, *options, "--out", run)
    assert training.exit_code == 0, training.output
    return run, training.output


def test_a_training_ends_early_and_says_why(ended_early):
    run, output = ended_early
    assert [row["epoch"] for row in metrics(run)] == ["1", "2", "3"]
    assert "ended after epoch 3: 2 validations without a better Dice than 0." in output


def test_a_training_that_ended_early_does_not_go_on(ended_early, lvseg_train, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(ended_early[0], run)
    assert lvseg_train.run("--resume", run, "--threads", 1).exit_code == 0
    assert len(metrics(run)) == 3


def test_validations_without_gain_are_counted_across_a_resumption(
    ended_early, lvseg_train, few_options, tmp_path
):
    run = tmp_path / "run"
    options = ["--epochs", 50, "--validation-interval", 1, "--learning-rate", 1e-12, "--early-stopping", 2]
    training = lvseg_train.start(*few_options, *options, "--out", run)
    training.kill_when(lambda: epochs(2)(run) and (run / LAST).exists())
    assert lvseg_train.run("--resume", run, "--threads", 1).exit_code == 0
    assert_same_run(run, ended_early[0])


def test_snapshots_are_kept_for_good(lvseg_train, few_options, tmp_path):
    run = tmp_path / "run"
    training = lvseg_train.start(*few_options, "--snapshot-interval", 2, "--out", run)
    training.kill_when(lambda: epochs(5)(run))
    assert lvseg_train.run("--resume", run, "--threads", 1).exit_code == 0
    folder = (run / LAST).parent
    snapshots = sorted(folder.glob("epoch-*.ckpt"))
    assert [path.name for path in snapshots] == ["epoch-0002.ckpt", "epoch-0004.ckpt", "epoch-0006.ckpt"]
    found = [torch.load(path, weights_only=True) for path in snapshots]
    assert [content["lvseg_scores"]["epoch"] for content in found] == [2, 4, 6]
    weights = [tensors(content["state_dict"]) for content in found]
    for one, other in itertools.pairwise(weights):
        assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())
