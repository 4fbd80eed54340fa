"""Real trainings, tiny ones, through the command as a user runs it."""

import csv
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lvseg.errors import RunError
from lvseg.train.run import BEST, load_run

TRAIN = str(Path(sys.executable).with_name("lvseg-train"))


def run(command: list[str], *more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command, *map(str, more)], capture_output=True, text=True, check=False)


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


def test_the_same_seed_gives_the_same_training(trained_run, tiny_training, tmp_path):
    assert run(tiny_training, "--out", tmp_path / "again").returncode == 0
    assert metrics(tmp_path / "again") == metrics(trained_run)


def test_a_training_that_was_killed_ends_as_if_it_had_not_been(trained_run, tiny_training, tmp_path):
    out = tmp_path / "killed"
    command = [*tiny_training, "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        for line in process.stderr:
            if re.match(r"epoch +30/60", line):
                process.send_signal(signal.SIGKILL)
                break
    assert process.returncode == -signal.SIGKILL
    resumed = run([TRAIN], "--resume", out, "--threads", 1)
    assert resumed.returncode == 0, resumed.stderr
    assert metrics(out) == metrics(trained_run)


def test_an_existing_run_is_left_alone(trained_run, tiny_training):
    before = (trained_run / "options.json").read_text()
    result = run(tiny_training, "--out", trained_run)
    assert (result.returncode, result.stderr) == (
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
        (("--validation-interval", "7"), "error: --epochs 60 is no multiple of --validation-interval 7"),
        (("--validation-percent", "10"), "error: --validate and --validation-percent are two ways"),
        (
            ("--images", "/nowhere"),
            "error: Invalid value for '--images': Directory '/nowhere' does not exist",
        ),
    ],
)
def test_an_option_that_cannot_be_is_one_line_and_no_folder(tiny_training, tmp_path, options, message):
    result = run(tiny_training, "--out", tmp_path / "run", *options)
    assert result.returncode == 2
    assert result.stderr.startswith(message)
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_without_a_split_the_patients_are_named(phantom, tmp_path):
    result = run([TRAIN], "--images", phantom, "--contours", phantom, "--out", tmp_path / "run")
    assert result.returncode == 2
    assert "pass --validate PATIENT (here: SC-PH-1, SC-PH-2) or --validation-percent" in result.stderr


def test_resuming_takes_no_other_option(trained_run):
    result = run([TRAIN], "--resume", trained_run, "--epochs", 9)
    assert (result.returncode, result.stderr) == (
        2,
        "error: --resume takes every option from the run; leave out --epochs\n",
    )


def test_resuming_on_other_slices_is_refused(trained_run, phantom, tmp_path):
    other = shutil.copytree(trained_run, tmp_path / "run")
    images = shutil.copytree(phantom, tmp_path / "images")
    next((images / "contours").rglob("*icontour-manual.txt")).unlink()
    options = json.loads((other / "options.json").read_text())
    options["options"].update(images=str(images), contours=str(images))
    (other / "options.json").write_text(json.dumps(options))
    result = run([TRAIN], "--resume", other)
    assert result.returncode == 2
    assert re.search(
        r"error: .* do not hold the \w+ slices that the run began with \(1 differ\)", result.stderr
    )


def test_an_interrupted_training_says_how_to_go_on(tiny_training, tmp_path):
    out = tmp_path / "run"
    with subprocess.Popen([*tiny_training, "--out", str(out)], stderr=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stderr:
            lines.append(line)
            if re.match(r"epoch +10/60", line):
                process.send_signal(signal.SIGINT)
    assert process.returncode == 1
    assert lines[-1] == f"error: interrupted; go on with: lvseg-train --resume {out}\n"


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
