"""Real trainings, tiny ones, through the command as a user runs it."""

import csv
import json
import os
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lvseg.errors import RunError
from lvseg.train.callbacks import duration
from lvseg.train.run import BEST, LAST, load_run


def metrics(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as stream:
        return [
            {name: value for name, value in row.items() if name != "seconds"}
            for row in csv.DictReader(stream)
        ]


def test_a_run_records_an_epoch_a_row(trained_run):
    rows = metrics(trained_run)
    assert [int(row["epoch"]) for row in rows] == list(range(1, 61))
    validated = [row for row in rows if int(row["epoch"]) % 10 == 0]
    assert all(0 <= float(row["val_accuracy"]) <= 1 and 0 <= float(row["val_dice"]) <= 1 for row in validated)
    assert all(row["val_dice"] == "" for row in rows if row not in validated)


def test_training_lowers_the_loss(trained_run):
    losses = [float(row["train_loss"]) for row in metrics(trained_run)]
    assert losses[-1] < 0.8 * losses[0]


def test_a_run_names_the_slices_on_both_sides(trained_run):
    record = json.loads((trained_run / "options.json").read_text())
    patients = [{name.split("/")[0] for name in record[side]} for side in ("training", "validation")]
    assert patients == [{"SC-PH-1"}, {"SC-PH-2"}]


def test_the_working_spacing_is_the_median_of_the_training_slices(trained_run, phantom):
    record = json.loads((trained_run / "options.json").read_text())
    described = json.loads((phantom / "phantom.json").read_text())
    assert record["working_spacing_mm"] == pytest.approx(
        described["patients"][0]["pixel_spacing_mm"], abs=1e-3
    )


def test_there_is_an_overlay_and_a_row_for_every_validation_slice(trained_run):
    names = json.loads((trained_run / "options.json").read_text())["validation"]
    with (trained_run / "validation.csv").open(newline="") as stream:
        assert [row["slice"] for row in csv.DictReader(stream)] == names
    assert sorted(path.stem for path in (trained_run / "overlays").iterdir()) == sorted(
        name.replace("/", "-") for name in names
    )


def test_the_curves_are_a_picture(trained_run):
    with Image.open(trained_run / "curves.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 5


def test_the_best_checkpoint_is_that_of_the_best_validation_dice(trained_run):
    best_run = load_run(trained_run)
    best = max(metrics(trained_run), key=lambda row: float(row["val_dice"] or 0))
    assert best_run.epoch == int(best["epoch"])
    assert best_run.val_dice == pytest.approx(float(best["val_dice"]), abs=1e-5)


def test_a_training_that_leaves_none_out_sees_every_slice_and_says_so(lvseg_train, few_slices, tmp_path):
    data = ["--images", few_slices, "--contours", few_slices, "--leave-none-out", "--epochs", 2]
    network = ["--window", 64, "--threads", 1, "--width", 0.125, "--fc-channels", 16]
    training = lvseg_train.run(*data, *network, "--out", tmp_path / "run")
    assert training.exit_code == 0, training.output
    assert "10 slices, all trained on and judged" in training.output
    record = json.loads((tmp_path / "run" / "options.json").read_text())
    assert len(record["training"]) == 10
    assert record["validation"] == record["training"]
    assert load_run(tmp_path / "run").epoch == 2
    assert "say nothing of other patients" in (tmp_path / "run" / "report.html").read_text()


def test_the_same_seed_gives_the_same_training_and_another_gives_another(lvseg_train, few_options, tmp_path):
    for name, seed in (("one", 1), ("again", 1), ("other", 2)):
        training = lvseg_train.run(*few_options, "--epochs", 2, "--seed", seed, "--out", tmp_path / name)
        assert training.exit_code == 0, training.output
    assert metrics(tmp_path / "again") == metrics(tmp_path / "one")
    assert metrics(tmp_path / "other") != metrics(tmp_path / "one")


def test_an_existing_run_is_left_alone(trained_run, lvseg_train, few_options):
    before = (trained_run / "options.json").read_text()
    training = lvseg_train.run(*few_options, "--out", trained_run)
    assert (training.exit_code, training.output) == (
        2,
        f"error: {trained_run} holds a former result: choose another --out or pass --overwrite\n",
    )
    assert (trained_run / "options.json").read_text() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--validate", "SC-XX-7"), "error: no patient SC-XX-7 in the data set; it has SC-PH-1, SC-PH-2"),
        (("--width", "2"), "error: width must be above 0 and at most 1, got 2.0"),
        (("--norm", "group"), "error: Invalid value for '--norm': 'group' is not one of 'none', 'batch'"),
        (("--window", "32"), "error: Invalid value for '--window': 32 is not in the range x>=64"),
        (("--validation-interval", "5"), "error: --epochs 6 is no multiple of --validation-interval 5"),
        (("--validation-percent", "10"), "error: --validate and --validation-percent are two ways"),
        (
            ("--images", "/nowhere"),
            "error: Invalid value for '--images': Directory '/nowhere' does not exist",
        ),
    ],
)
def test_an_option_that_cannot_be_is_one_line_and_no_folder(
    lvseg_train, few_options, tmp_path, options, message
):
    training = lvseg_train.run(*few_options, "--out", tmp_path / "run", *options)
    assert training.exit_code == 2
    lines = [line for line in training.output.splitlines() if not line.startswith("reading slices")]
    assert len(lines) == 1
    assert lines[0].startswith(message)
    assert not (tmp_path / "run").exists()


def test_without_a_split_the_patients_are_named(lvseg_train, phantom, tmp_path):
    training = lvseg_train.run("--images", phantom, "--contours", phantom, "--out", tmp_path / "run")
    assert training.exit_code == 2
    assert "pass --validate PATIENT (here: SC-PH-1, SC-PH-2) or --validation-percent" in training.last_line


def test_resuming_takes_no_other_option(lvseg_train, trained_run):
    training = lvseg_train.run("--resume", trained_run, "--epochs", 9)
    assert (training.exit_code, training.output) == (
        2,
        "error: --resume takes every option from the run; leave out --epochs\n",
    )


def test_resuming_on_other_slices_is_refused(lvseg_train, trained_run, phantom, tmp_path):
    other = shutil.copytree(trained_run, tmp_path / "run")
    images = shutil.copytree(phantom, tmp_path / "images")
    next((images / "contours").rglob("*icontour-manual.txt")).unlink()
    options = json.loads((other / "options.json").read_text())
    options["options"].update(images=str(images), contours=str(images))
    (other / "options.json").write_text(json.dumps(options))
    training = lvseg_train.run("--resume", other)
    assert training.exit_code == 2
    assert re.search(
        r"error: .* do not hold the \w+ slices that the run began with \(1 differ\)", training.last_line
    )


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_says_how_to_go_on(lvseg_train, few_options, tmp_path, signum):
    out = tmp_path / "run"
    training = lvseg_train.start(*few_options, "--epochs", 400, "--out", out)
    while not (out / LAST).exists():
        assert training.exit_code is None, training.output
        time.sleep(0.01)
    os.kill(training.process.pid, signum)
    training.wait()
    assert training.exit_code == 1
    assert training.last_line == f"error: interrupted; go on with: lvseg-train --resume {out}"


def test_a_run_without_a_checkpoint_says_how_to_go_on(trained_run, tmp_path):
    shutil.copy(trained_run / "options.json", tmp_path)
    with pytest.raises(RunError, match="no validation has ended yet; finish it with lvseg-train --resume"):
        load_run(tmp_path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None])
def test_a_broken_checkpoint_is_refused(trained_run, tmp_path, content):
    shutil.copytree(trained_run, tmp_path / "run")
    path = tmp_path / "run" / BEST
    path.write_bytes(path.read_bytes()[:5000] if content is None else content)
    with pytest.raises(RunError, match="is not a checkpoint of fcn-8s"):
        load_run(tmp_path / "run")


def test_no_code_of_a_checkpoint_is_run(trained_run, tmp_path):
    class Payload:
        def __reduce__(self):
            return Path.touch, (tmp_path / "executed",)

    shutil.copytree(trained_run, tmp_path / "run")
    torch.save({"state_dict": Payload()}, tmp_path / "run" / BEST)
    with pytest.raises(RunError):
        load_run(tmp_path / "run")
    assert not (tmp_path / "executed").exists()


# A rate that is multiplied by 1e35 after some of the steps, of which an epoch of seven slices has two.
DIVERGING = (
    *("--epochs", 4, "--validation-interval", 1, "--norm", "none", "--dropout", 0),
    *("--solver", "sgd", "--policy", "step", "--step-gamma", 1e35),
)


def test_a_loss_that_is_no_number_ends_the_training_and_names_its_batch(lvseg_train, few_options, tmp_path):
    out = tmp_path / "run"
    training = lvseg_train.run(*few_options, *DIVERGING, "--step-percent", 50, "--out", out)
    assert training.exit_code == 1
    found = re.fullmatch(
        r"error: the loss is (?:nan|inf) in epoch 3, batch 2 \((.*)\); the checkpoints before it are kept; "
        rf"look at these slices, or start anew at a lower rate: lvseg-train --like {out} --learning-rate RATE "
        "--out NEW",
        training.last_line,
    )
    assert found, training.output
    slices = found[1].split(", ")
    assert len(set(slices)) == 3
    assert set(slices) < set(json.loads((out / "options.json").read_text())["training"])
    assert (load_run(out, "last").epoch, load_run(out).epoch <= 2) == (2, True)


def test_weights_that_the_last_step_of_an_epoch_ruined_are_not_kept(lvseg_train, few_options, tmp_path):
    out = tmp_path / "run"
    training = lvseg_train.run(*few_options, *DIVERGING, "--step-percent", 37.5, "--out", out)
    assert training.exit_code == 1
    assert "error: the weights are of no use after epoch 2, batch 2 (" in training.last_line
    kept = load_run(out, "last")
    assert kept.epoch == 1
    assert all(torch.isfinite(tensor).all() for tensor in kept.model.state_dict().values())


def test_a_loading_process_that_dies_ends_the_training_in_one_line(lvseg_train, few_options, tmp_path):
    out = tmp_path / "run"
    training = lvseg_train.start(*few_options, "--epochs", 400, "--workers", 1, "--out", out)
    while not (out / LAST).exists():
        assert training.exit_code is None, training.output
        time.sleep(0.01)
    children = Path(f"/proc/{training.process.pid}/task/{training.process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    training.wait()
    assert training.exit_code == 1
    assert training.last_line.startswith("error: a loading process died (DataLoader worker")
    assert training.last_line.endswith(f"go on with: lvseg-train --resume {out}")


def test_the_display_says_what_is_left(lvseg_train, few_options, tmp_path):
    training = lvseg_train.run(*few_options, "--out", tmp_path / "run")
    lines = [line for line in training.output.splitlines() if "  train_loss " in line]
    assert [line.split()[1] for line in lines] == ["2/6", "4/6", "6/6"]
    assert all(re.search(r"  val_dice 0\.\d{4}  \d+ s left$", line) for line in lines)
    assert lines[-1].endswith("  0 s left")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (59.4, "59 s"), (61, "1 min"), (3540, "59 min"), (7500, "2 h 05 min")]
)
def test_a_duration_is_said_as_a_person_says_it(seconds, text):
    assert duration(seconds) == text
