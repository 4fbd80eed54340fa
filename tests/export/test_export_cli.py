"""lvseg-export in this process; the bundle that most tests share was written by one of its own."""

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from PIL import Image

from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.models import build_model
from lvseg.models.pretrained import load_pretrained
from lvseg.train.options import RunRecord
from lvseg.train.recipes import DEFAULT_RECIPES
from lvseg.train.run import load_run
from lvseg.train.series import leave_one_out
from lvseg_export.bundle import MANIFEST, load_bundle
from lvseg_export.cli import main


def export(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


def results(bundle: Path) -> list[dict[str, Any]]:
    return json.loads((bundle / "parity.json").read_text())["results"]


def test_parity_is_checked_on_the_runs_own_validation_slices(bundle, trained_run):
    validation = json.loads((trained_run / "options.json").read_text())["validation"]
    for result in results(bundle):
        if result["check"] == "labelled slices":
            assert result["parity"]["slices"] == len(validation)
            assert result["parity"]["differing_pixels"] <= 1e-4 * result["parity"]["pixels"]
            assert result["dice_on_labels"] == pytest.approx(result["trained_dice_on_labels"], abs=1e-3)
    assert {result["check"] for result in results(bundle)} == {
        "phantoms",
        "phantoms in batches",
        "phantoms of other shapes",
        "labelled slices",
    }


def test_the_model_card_tells_the_data_and_the_score(bundle):
    manifest = load_bundle(bundle).manifest
    card = (bundle / "README.md").read_text()
    assert f"mean Dice {manifest.training['val_dice']:.4f}" in card
    assert "SC-PH" not in card
    assert "not to be used for diagnosis" in card


def test_where_the_data_are_gone_it_says_what_it_checks_on(trained_run, tmp_path):
    run = shutil.copytree(trained_run, tmp_path / "run")
    options = json.loads((run / "options.json").read_text())
    options["options"]["images"] = str(tmp_path / "gone")
    (run / "options.json").write_text(json.dumps(options))
    result = export(run, "--out", tmp_path / "bundle")
    assert result.exit_code == 0, result.stderr
    assert "validation slices are not in" in result.stderr
    assert "checking on phantoms" in result.stderr
    assert not [result for result in results(tmp_path / "bundle") if result["check"] == "labelled slices"]


def test_a_folder_that_is_no_run_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    result = export(tmp_path / "empty", "--out", tmp_path / "bundle")
    assert result.exit_code == 2
    assert result.stderr.splitlines() == [
        f"error: {tmp_path / 'empty'} is not a run (it holds no options.json); write one with lvseg-train"
    ]
    assert not (tmp_path / "bundle").exists()


def test_an_existing_bundle_is_left_alone(trained_run, bundle):
    before = (bundle / "manifest.json").read_bytes()
    result = export(trained_run, "--out", bundle)
    assert result.exit_code == 2
    assert "holds a former result: choose another --out or pass --overwrite" in result.stderr
    assert (bundle / "manifest.json").read_bytes() == before


@pytest.mark.parametrize("option", ["--images", "--contours"])
def test_images_and_contours_go_together(trained_run, tmp_path, option):
    result = export(trained_run, "--out", tmp_path / "bundle", option, tmp_path)
    assert (result.exit_code, result.stderr) == (2, "error: --images and --contours go together\n")


def test_a_runs_weights_are_written_as_a_caffemodel_that_training_starts_from(trained_run, tmp_path):
    file = tmp_path / "net.caffemodel"
    result = export(trained_run, "--out", file)
    assert result.exit_code == 0
    flags = "--model fcn-8s --width 0.125 --fc-channels 16 --norm none"
    assert result.stdout == (
        f"weights written to {file}; start from them with: lvseg-train {flags} --pretrained {file}\n"
    )
    trained = load_run(trained_run)
    # The options that were printed, and else those of the model's default recipe.
    default = DEFAULT_RECIPES["fcn-8s"].network
    model = build_model(
        "fcn-8s", dataclasses.replace(default, width=0.125, fc_channels=16, norm="none", padding="same")
    ).eval()
    load_pretrained(model, file)
    pixels = 300 * torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model(pixels), trained.model(pixels), rtol=0, atol=1e-4)


def test_labels_of_the_runs_own_kind_say_which_images_to_check_on(trained_run, phantom, tmp_path):
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    document = json.loads((run / "options.json").read_text())
    document["options"] |= {"label_format": "masks", "pretrained": str(tmp_path / "weights/vgg.caffemodel")}
    (run / "options.json").write_text(json.dumps(document))
    for sample in index_sunnybrook(phantom, phantom).samples[:2]:
        mask = (tmp_path / "masks" / sample.image.relative_to(phantom)).with_suffix(".png")
        mask.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(255 * sample.load().mask.astype(np.uint8)).save(mask)
    result = export(run, "--out", tmp_path / "bundle", "--images", phantom, "--contours", tmp_path / "masks")
    assert result.exit_code == 0, result.stderr
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert {
        result["parity"]["slices"]
        for result in results(tmp_path / "bundle")
        if result["check"] == "labelled slices"
    } == {2}
    assert manifest.training["options"]["pretrained"] == "vgg.caffemodel"
    assert [
        text for text in texts(json.loads((tmp_path / "bundle" / MANIFEST).read_text())) if "/" in text
    ] == []


def texts(value: object) -> list[str]:
    """Return every text of a document."""
    if isinstance(value, str):
        return [value]
    parts = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for part in parts for text in texts(part)]


def test_a_file_of_weights_is_not_written_over(trained_run, tmp_path):
    file = tmp_path / "net.caffemodel"
    file.write_bytes(b"mine")
    result = export(trained_run, "--out", file)
    assert (result.exit_code, file.read_bytes()) == (2, b"mine")
    assert "exists: choose another --out or pass --overwrite" in result.stderr


def test_the_card_of_a_final_model_tells_what_its_recipe_is_worth_and_what_its_trainers_note(
    trained_run, tmp_path
):
    run = shutil.copytree(trained_run, tmp_path / "run")
    record = RunRecord.read(run)
    final = dataclasses.replace(
        record.options, validate=(), leave_none_out=True, validation_interval=record.options.epochs
    )
    dataclasses.replace(record, options=final, validation=record.training).write(run)
    crossed = tmp_path / "crossed"
    leave_one_out(final, ["SC-PH-1", "SC-PH-2"]).write(crossed)
    for patient, left_out in (("SC-PH-1", record.training), ("SC-PH-2", [])):
        (crossed / patient).mkdir()
        dataclasses.replace(record, validation=left_out).write(crossed / patient)
    honest = {
        "over_slices": {"contours": 30, "dice": 0.8125, "apd_mm": 2.5, "good_percent": 75.0},
        "by_patient": {"SC-PH-1": {"dice": 0.875}, "SC-PH-2": {"dice": 0.75}},
    }
    (crossed / "evaluation.json").write_text(json.dumps({"means": {"honest": honest}}))
    notes = tmp_path / "notes.md"
    notes.write_text("The data are phantoms, CC0 \N{EM DASH} made here.\n", encoding="utf-8")
    result = export(run, "--cross-validation", crossed, "--notes", notes, "--out", tmp_path / "bundle")
    assert result.exit_code == 0, result.stderr
    manifest = load_bundle(tmp_path / "bundle").manifest
    assert manifest.training["split"] == "none: validated on the training slices"
    assert manifest.training["cross_validation"]["dice"] == 0.8125
    card = (tmp_path / "bundle" / "README.md").read_text(encoding="utf-8")
    assert "Every slice was trained on, for 60 epochs, and none is left to judge it by" in card
    assert "Each of 2 patients left out in turn" in card
    assert "mean Dice 0.812 (a patient's own mean 0.750 to 0.875)" in card
    assert "SC-PH" not in card
    assert "The data are phantoms, CC0 \N{EM DASH} made here." in card


def test_notes_that_are_no_text_are_refused(trained_run, tmp_path):
    (tmp_path / "notes.md").write_bytes(b"caf\xe9")
    result = export(trained_run, "--notes", tmp_path / "notes.md", "--out", tmp_path / "bundle")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "is not text in UTF-8" in result.stderr
