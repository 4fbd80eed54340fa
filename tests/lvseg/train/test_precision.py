import csv
import math
import os
import shutil

import pytest
import torch

from lvseg.train.run import BEST, LAST


def losses(run):
    with (run / "metrics.csv").open(newline="") as stream:
        return [float(row["train_loss"]) for row in csv.DictReader(stream)]


@pytest.fixture(scope="module")
def plain(lvseg_train, few_options, tmp_path_factory):
    """A run of two epochs in float32, nothing random in the network; read-only."""
    folder = tmp_path_factory.mktemp("runs") / "plain"
    training = lvseg_train.run(*few_options, "--epochs", 2, "--dropout", 0, "--out", folder)
    assert training.exit_code == 0, training.output
    return folder


def test_a_training_in_bfloat16_keeps_its_weights_in_float32(plain, lvseg_train, few_options, tmp_path):
    run = tmp_path / "run"
    options = ["--epochs", 2, "--dropout", 0, "--precision", "bf16-mixed"]
    training = lvseg_train.run(*few_options, *options, "--out", run)
    assert training.exit_code == 0, training.output
    assert all(map(math.isfinite, losses(run)))
    assert losses(run) == pytest.approx(losses(plain), rel=0.1)
    assert losses(run) != losses(plain)
    weights = torch.load(run / BEST, weights_only=True)["state_dict"].values()
    assert {tensor.dtype for tensor in weights if tensor.is_floating_point()} == {torch.float32}


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_float16_without_a_gpu_is_refused_before_any_data_is_read(lvseg_train, tmp_path):
    (tmp_path / "empty").mkdir()
    data = ["--images", tmp_path / "empty", "--contours", tmp_path / "empty", "--out", tmp_path / "run"]
    training = lvseg_train.run(*data, "--precision", "16-mixed")
    assert training.exit_code == 2
    assert training.output == (
        "error: --precision 16-mixed needs a CUDA GPU, and this machine has none that torch can use; choose "
        "bf16-mixed or 32-true\n"
    )


@pytest.mark.skipif(not shutil.which(os.environ.get("CXX") or "g++"), reason="no C++ compiler")
def test_a_compiled_training_is_the_same_training_and_can_be_resumed(lvseg_train, few_options, tmp_path):
    # The smaller network, and batches of one size, for they are compiled each.
    options = [*few_options, "--model", "fcn-alexnet", "--batch-size", 7, "--epochs", 2, "--dropout", 0]
    compiled, plain = tmp_path / "compiled", tmp_path / "plain"
    assert lvseg_train.run(*options, "--out", plain).exit_code == 0
    lvseg_train.start(*options, "--compile", "--out", compiled).kill_when((compiled / LAST).exists)
    resumed = lvseg_train.run("--resume", compiled, "--threads", 1)
    assert resumed.exit_code == 0, resumed.output
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-3)
    names = [
        torch.load(folder / LAST, weights_only=True)["state_dict"].keys() for folder in (compiled, plain)
    ]
    assert names[0] == names[1]


def test_compiling_without_a_compiler_is_refused(lvseg_train, few_options, tmp_path):
    training = lvseg_train.run(*few_options, "--compile", "--out", tmp_path / "run", CXX="/nowhere/g++")
    assert training.exit_code == 2
    assert training.output.startswith("error: --compile needs a C++ compiler, and /nowhere/g++ is not found")


def test_gradients_of_several_batches_make_one_step(plain, lvseg_train, few_options, tmp_path):
    run = tmp_path / "run"
    options = ["--epochs", 2, "--dropout", 0, "--accumulate", 2]
    assert lvseg_train.run(*few_options, *options, "--out", run).exit_code == 0
    # Seven slices are two batches an epoch, of four and of three.
    assert torch.load(plain / LAST, weights_only=True)["global_step"] == 4
    assert torch.load(run / LAST, weights_only=True)["global_step"] == 2


def test_weights_are_kept_as_they_are_where_none_are_averaged(plain, lvseg_train, few_options, tmp_path):
    run = tmp_path / "run"
    options = ["--epochs", 2, "--dropout", 0, "--averaged-steps", 0]
    assert lvseg_train.run(*few_options, *options, "--out", run).exit_code == 0
    averaged, current = (torch.load(folder / LAST, weights_only=True) for folder in (plain, run))
    assert "averaging_state" in averaged
    assert "averaging_state" not in current
    for name, tensor in averaged["current_model_state"].items():
        assert torch.equal(tensor, current["state_dict"][name]), name
    assert any(
        not torch.equal(tensor, current["state_dict"][name])
        for name, tensor in averaged["state_dict"].items()
    )
