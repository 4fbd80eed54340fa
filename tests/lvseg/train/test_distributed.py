import csv
import dataclasses
import os
import signal
import subprocess
import sys
import time
from itertools import chain
from pathlib import Path

import pytest
import torch

from lvseg.data.dataset import EpochSampler
from lvseg.errors import OptionError
from lvseg.train.options import RunRecord
from lvseg.train.run import BEST
from lvseg.train.start import check_start
from lvseg.train.training import load_images, split_images


def parts(length, *, batch_size, processes):
    """Return what each process draws in an epoch, cut into its batches."""
    drawn = []
    for rank in range(processes):
        sampler = EpochSampler(length, seed=3, batch_size=batch_size, processes=processes, rank=rank)
        sampler.set_epoch(5)
        samples = [sample for _, sample in sampler]
        assert len(samples) == len(sampler)
        share = batch_size // processes
        drawn.append([samples[start : start + share] for start in range(0, len(samples), share)])
    return drawn


@pytest.mark.parametrize(
    ("length", "batch_size", "processes"), [(12, 4, 2), (17, 4, 2), (14, 6, 3), (9, 8, 4)]
)
def test_the_parts_of_all_processes_are_the_batches_of_one(length, batch_size, processes):
    (whole,) = parts(length, batch_size=batch_size, processes=1)
    together = [
        list(chain.from_iterable(pieces))
        for pieces in zip(*parts(length, batch_size=batch_size, processes=processes), strict=True)
    ]
    assert [piece[: len(batch)] for piece, batch in zip(together, whole, strict=True)] == whole


def test_a_batch_that_cannot_be_shared_evenly_is_filled_up_with_its_last_sample():
    one, other = parts(5, batch_size=4, processes=2)
    assert one[-1] == other[-1]
    assert [len(batch) for batch in one] == [len(batch) for batch in other] == [2, 1]


def metrics(run: Path) -> list[dict[str, float]]:
    with (run / "metrics.csv").open(newline="") as stream:
        return [
            {name: float(value or "nan") for name, value in row.items()} for row in csv.DictReader(stream)
        ]


@pytest.fixture(scope="module")
def plain_options(few_options):
    """Without batch normalisation and dropout, and by a solver that does not blow up a rounding error."""
    return [
        *few_options,
        *("--epochs", 4, "--norm", "none", "--dropout", 0, "--solver", "sgd", "--averaged-steps", 4),
    ]


@pytest.fixture(scope="module")
def one_process(lvseg_train, plain_options, tmp_path_factory):
    """A run of one process; read-only."""
    folder = tmp_path_factory.mktemp("runs") / "one"
    training = lvseg_train.run(*plain_options, "--out", folder)
    assert training.exit_code == 0, training.output
    return folder


TRAIN = Path(sys.executable).with_name("lvseg-train")
TORCHRUN = (Path(sys.executable).with_name("torchrun"), "--nproc-per-node", 2, "--no-python")


def words(*arguments: object) -> list[str]:
    return [str(argument) for argument in arguments]


def run_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words(*arguments), capture_output=True, text=True, check=False)


def assert_nearly_the_same(run: Path, expected_run: Path) -> None:
    for row, expected in zip(metrics(run), metrics(expected_run), strict=True):
        del row["seconds"], expected["seconds"]
        assert row == pytest.approx(expected, abs=1e-4, nan_ok=True)
    found, expected = (torch.load(folder / BEST, weights_only=True) for folder in (run, expected_run))
    for name, tensor in expected["state_dict"].items():
        torch.testing.assert_close(found["state_dict"][name], tensor, rtol=1e-3, atol=1e-4)
    assert (run / "report.html").exists()


# Seven windows in batches of four: the last batch has three, which two processes cannot share evenly.


def test_two_processes_of_torchrun_train_as_one_does(one_process, plain_options, tmp_path):
    run = tmp_path / "run"
    training = run_command(*TORCHRUN, TRAIN, *plain_options, "--devices", 2, "--out", run)
    assert training.returncode == 0, training.stderr
    assert training.stdout.count("working pixel spacing") == 1
    assert training.stderr.count("epoch    4/4") == 1
    assert_nearly_the_same(run, one_process)


def test_two_processes_that_were_killed_and_go_on_train_as_one_does(one_process, plain_options, tmp_path):
    run = tmp_path / "run"
    arguments = words(TRAIN, *plain_options, "--devices", 2, "--out", run)
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL, start_new_session=True) as training:
        while training.poll() is None and not (run / BEST).exists():
            time.sleep(0.001)
        os.killpg(training.pid, signal.SIGKILL)
    assert training.returncode == -signal.SIGKILL
    resumed = run_command(TRAIN, "--resume", run, "--threads", 1)
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("going on after epoch") == 1
    assert_nearly_the_same(run, one_process)


def test_an_error_of_two_processes_is_said_once(one_process, plain_options):
    training = run_command(TRAIN, *plain_options, "--devices", 2, "--out", one_process)
    assert (training.returncode, training.stderr) == (
        2,
        f"error: {one_process} holds a former result: choose another --out or pass --overwrite\n",
    )


def test_a_batch_that_the_processes_cannot_share_is_refused(lvseg_train, plain_options, tmp_path):
    training = lvseg_train.run(*plain_options, "--devices", 3, "--out", tmp_path / "run")
    assert training.exit_code == 2
    assert training.output == (
        "error: --batch-size 4 cannot be shared by 3 processes (--devices 3 times --nodes 1); make it a multiple "
        "of 3\n"
    )


def test_more_processes_than_validation_slices_are_refused(one_process):
    options = RunRecord.read(one_process).options
    several = dataclasses.replace(options, devices=4)
    with pytest.raises(
        OptionError, match=r"4 processes cannot share 3 validation slice\(s\); lower --devices"
    ):
        check_start(several, split_images(load_images(options), options))


def test_torchrun_and_the_options_have_to_agree(lvseg_train, plain_options, tmp_path):
    torchrun = {"TORCHELASTIC_RUN_ID": "1", "WORLD_SIZE": "2"}
    training = lvseg_train.run(*plain_options, "--out", tmp_path / "run", **torchrun)
    assert training.exit_code == 2
    assert training.output == (
        "error: torchrun started 2 processes, but --devices 1 times --nodes 1 are 1; let them agree\n"
    )
