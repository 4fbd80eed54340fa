"""What is checked before a run folder is made or replaced."""

import shutil

import pytest
import torch

from lvseg.models import build_model
from lvseg.models.options import NetworkOptions
from lvseg.train.options import TrainOptions
from lvseg.train.recipes import RECIPES
from lvseg.train.start import starting_model


def lab_1(**changes: object) -> TrainOptions:
    tiny = NetworkOptions(width=0.125, fc_channels=16, normalisation="raw-116")
    return TrainOptions.following(
        RECIPES["lab-1"], **{"images": "/images", "contours": "/contours", "network": tiny, **changes}
    )


def test_all_that_is_trained_starts_at_zero_and_the_upsampling_is_bilinear():
    network = starting_model(lab_1()).network
    assert not any(weight.any() for weight in network.parameters() if weight.requires_grad)
    bilinear = build_model("fcn-alexnet", network.options).network.upscore.weight
    assert torch.equal(network.upscore.weight, bilinear)


def test_a_network_of_zeros_learns_its_scores_bias_alone():
    network = starting_model(lab_1()).network
    label = torch.zeros(1, 64, 64, dtype=torch.long)
    torch.nn.functional.cross_entropy(network(torch.rand(1, 1, 64, 64)), label).backward()
    moved = {
        name for name, weight in network.named_parameters() if weight.grad is not None and weight.grad.any()
    }
    assert moved == {"score_fr.bias"}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--trunk", "torchvision"], "fcn-8s has one trunk"),
        (["--devices", "2", "--batch-size", "3"], "--batch-size 3 cannot be shared by 2 processes"),
    ],
)
def test_a_training_that_cannot_start_leaves_no_folder(lvseg_train, few_options, tmp_path, options, found):
    training = lvseg_train.run(*few_options, *options, "--out", tmp_path / "run")
    assert training.exit_code == 2
    assert found in training.last_line
    assert not (tmp_path / "run").exists()


def test_a_training_that_cannot_start_replaces_no_former_run(lvseg_train, few_options, trained_run, tmp_path):
    run, text = tmp_path / "run", tmp_path / "text.caffemodel"
    shutil.copytree(trained_run, run)
    text.write_text("no weights")
    training = lvseg_train.run(*few_options, "--pretrained", text, "--out", run, "--overwrite")
    assert training.exit_code == 2
    assert (run / "checkpoints/best.ckpt").is_file()


def test_a_run_is_not_replaced_by_one_that_starts_from_its_weights(
    lvseg_train, few_options, trained_run, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(trained_run, run)
    training = lvseg_train.run(*few_options, "--pretrained", run, "--out", run, "--overwrite")
    assert training.exit_code == 2
    assert "would take the place of the weights of --pretrained" in training.last_line
    assert (run / "checkpoints/best.ckpt").is_file()


def test_each_training_of_a_series_is_checked_before_the_first(lvseg_train, few_options, tmp_path):
    sizes = ["--batch-size", "4", "--batch-size", "3", "--devices", "2"]
    training = lvseg_train.run(*few_options, *sizes, "--out", tmp_path / "runs")
    assert training.exit_code == 2
    assert "--batch-size 3 cannot be shared by 2 processes" in training.last_line
    assert not (tmp_path / "runs").exists()
