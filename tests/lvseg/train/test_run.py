"""Reading a run back: which weights a checkpoint gives."""

import csv
import shutil
from pathlib import Path

import pytest
import torch

from lvseg.data.sunnybrook import load_sunnybrook
from lvseg.errors import RunError
from lvseg.evaluation import evaluate
from lvseg.train.predict import predict_mask
from lvseg.train.run import LAST, load_run


def validation_dice(run, phantom: Path) -> float:
    images = [
        image for image in load_sunnybrook(phantom, phantom).images if image.name in run.record.validation
    ]
    evaluation = evaluate(
        lambda image: predict_mask(run.model, image.slice, run.record.working_spacing_mm), images
    )
    return evaluation.scores("honest").dice


def metrics(folder: Path) -> dict[int, dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as stream:
        return {int(row["epoch"]): row for row in csv.DictReader(stream)}


@pytest.mark.parametrize("checkpoint", ["best", "last"])
def test_a_checkpoint_gives_the_weights_that_validation_judged(trained_run, phantom, checkpoint):
    run = load_run(trained_run, checkpoint)
    recorded = float(metrics(trained_run)[run.epoch]["val_dice"])
    assert validation_dice(run, phantom) == pytest.approx(recorded, abs=1e-4)
    assert run.val_dice == pytest.approx(recorded, abs=1e-5)


def test_the_last_checkpoint_is_that_of_the_last_epoch(trained_run):
    assert load_run(trained_run, "last").epoch == 60


def test_a_checkpoints_weights_are_the_averaged_ones_not_the_optimisers(trained_run):
    content = torch.load(trained_run / LAST, map_location="cpu", weights_only=True)
    prefix = "model."
    model = load_run(trained_run, "last").model.state_dict()
    assert all(torch.equal(content["state_dict"][prefix + name], value) for name, value in model.items())
    assert not all(
        torch.equal(content["current_model_state"][prefix + name], value) for name, value in model.items()
    )


def test_a_last_checkpoint_from_before_any_validation_says_how_to_go_on(trained_run, tmp_path):
    shutil.copy(trained_run / "options.json", tmp_path)
    content = torch.load(trained_run / LAST, map_location="cpu", weights_only=True)
    content["lvseg_scores"] = {"epoch": 3}
    (tmp_path / LAST).parent.mkdir()
    torch.save(content, tmp_path / LAST)
    with pytest.raises(RunError, match="no validation has ended yet; finish it with lvseg-train --resume"):
        load_run(tmp_path, "last")


def test_a_run_without_a_last_checkpoint_is_told(trained_run, tmp_path):
    shutil.copy(trained_run / "options.json", tmp_path)
    with pytest.raises(RunError, match=r"has no checkpoints/last\.ckpt"):
        load_run(tmp_path, "last")
