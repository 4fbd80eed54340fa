"""lvseg-evaluate: in this process, but for what a user's own start of it decides."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lvseg_export.evaluate_cli import main

EVALUATE = str(Path(sys.executable).with_name("lvseg-evaluate"))


def evaluate(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def on(phantom) -> list[object]:
    """The options that name the data."""
    return ["--images", phantom, "--contours", phantom]


@pytest.fixture(scope="module")
def evaluated(bundle, on, tmp_path_factory) -> tuple[Path, str]:
    """The folder of a bundle's evaluation on one patient, and what was printed."""
    out = tmp_path_factory.mktemp("evaluations") / "bundle"
    options = [bundle, *on, "--patients", "SC-PH-02", "--threads", "1", "--out", out]
    result = subprocess.run([EVALUATE, *options], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return out, result.stdout


def document(out: Path) -> dict:
    return json.loads((out / "evaluation.json").read_text())


def test_a_bundle_leaves_tables_figures_and_pictures(evaluated):
    out, printed = evaluated
    assert {path.name for path in out.iterdir()} == {
        *("slices.csv", "patients.csv", "evaluation.json", "bland_altman.png", "gallery.png")
    }
    assert "Honest: every slice counts" in printed
    assert "As the 2009 challenge scores" in printed
    assert printed.splitlines()[-1] == f"written to {out}"


def test_only_the_patient_asked_for_is_evaluated(evaluated, trained_run):
    out, _ = evaluated
    with (out / "slices.csv").open(newline="") as stream:
        names = [row["slice"] for row in csv.DictReader(stream)]
    assert document(out)["patients"] == ["SC-PH-2"]
    assert sorted(names) == sorted(json.loads((trained_run / "options.json").read_text())["validation"])


def test_the_honest_dice_is_that_of_the_trainings_own_validation(evaluated, trained_run):
    out, _ = evaluated
    with (trained_run / "metrics.csv").open(newline="") as stream:
        best = max(float(row["val_dice"] or 0) for row in csv.DictReader(stream))
    assert document(out)["means"]["honest"]["over_slices"]["dice"] == pytest.approx(best, abs=2e-3)


def test_a_run_has_its_bundles_figures_and_is_told_with_its_epoch(evaluated, trained_run, on, tmp_path):
    out = tmp_path / "run"
    result = evaluate(trained_run, *on, "--patients", "sc-ph-2", "--threads", 1, "--out", out)
    assert result.exit_code == 0, result.stderr
    of_run, of_bundle = document(out), document(evaluated[0])
    for figure in ("dice", "apd_mm", "hausdorff_mm", "area_error_percent"):
        expected = of_bundle["means"]["honest"]["over_slices"][figure]
        assert of_run["means"]["honest"]["over_slices"][figure] == pytest.approx(expected, rel=0.02, abs=0.1)
    assert of_run["evaluated"]["kind"] == "run"
    assert of_run["evaluated"]["checkpoint"] == "best"
    assert "flatters" not in result.stderr


def test_patients_that_a_run_was_trained_on_are_told(trained_run, on, tmp_path):
    out = tmp_path / "out"
    result = evaluate(trained_run, *on, "--checkpoint", "last", "--threads", 1, "--out", out)
    assert result.exit_code == 0, result.stderr
    assert "trained on slices of SC-PH-1: what follows of them flatters" in result.stderr
    assert document(out)["evaluated"]["data"]["patients_trained_on"] == ["SC-PH-1"]
    assert "last checkpoint, epoch 60" in result.stdout


def test_evaluating_a_bundle_imports_no_torch(bundle, phantom):
    code = (
        "import sys; from lvseg_export.evaluate_cli import main; "
        f"main([{str(bundle)!r}, '--images', {str(phantom)!r}, '--contours', {str(phantom)!r}, '--threads', '1'], "
        "standalone_mode=False); print('torch' in sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--patients", "SC-XX-7"), "no patient SC-XX-7 in the data set; it has SC-PH-1, SC-PH-2"),
        (("--checkpoint", "last"), "--checkpoint is for a run, but"),
        (("--checkpoint", "worst"), "Invalid value for '--checkpoint': 'worst' is not one of 'best', 'last'"),
        (("--engine", "tpu"), "Invalid value for '--engine': 'tpu' is not one of"),
        (("--images", "/nowhere"), "Invalid value for '--images': Directory '/nowhere' does not exist"),
        (("--label-format", "xml"), "Invalid value for '--label-format': 'xml' is not one of 'contours'"),
        (("--label", "3"), "--label chooses among the structures of a mask, and a contour has none"),
        (("--threads", "0"), "Invalid value for '--threads': 0 is not in the range x>=1"),
    ],
)
def test_an_option_that_cannot_be_is_one_line_and_no_folder(bundle, on, tmp_path, arguments, message):
    result = evaluate(bundle, *on, "--out", tmp_path / "out", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_an_engine_for_a_run_is_refused(trained_run, on):
    result = evaluate(trained_run, *on, "--engine", "onnxruntime")
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: --engine is for a bundle, but {trained_run} is a run, which PyTorch runs; leave it out\n",
    )


def test_a_folder_that_is_neither_run_nor_bundle_is_one_line(on, tmp_path):
    result = evaluate(tmp_path, *on)
    assert result.exit_code == 2
    assert result.stderr == (
        f"error: {tmp_path} is neither a bundle (it holds no manifest.json) nor a run (it holds no options.json); "
        "write one with lvseg-train or lvseg-export\n"
    )


def test_a_model_that_does_not_exist_is_one_line(on, tmp_path):
    result = evaluate(tmp_path / "gone", *on)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: Invalid value for 'RUN_OR_BUNDLE': Directory")
    assert len(result.stderr.splitlines()) == 1


def test_a_bundle_that_was_changed_is_refused(bundle, on, tmp_path):
    other = shutil.copytree(bundle, tmp_path / "bundle")
    with (other / "model.onnx").open("ab") as stream:
        stream.write(b"\0")
    result = evaluate(other, *on)
    assert result.exit_code == 2
    assert "model.onnx has changed since export" in result.stderr


def test_nothing_to_evaluate_is_one_line(bundle, phantom, tmp_path):
    result = evaluate(bundle, "--images", phantom, "--contours", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {tmp_path} holds no contours")


def test_a_contour_that_cannot_be_used_is_named_and_with_strict_refused(bundle, phantom, tmp_path):
    data = shutil.copytree(phantom, tmp_path / "data")
    broken = next((data / "contours").rglob("*icontour-manual.txt"))
    broken.write_text("1 2\n")
    where = ["--images", data, "--contours", data, "--threads", 1]
    lenient, strict = evaluate(bundle, *where), evaluate(bundle, *where, "--strict")
    assert lenient.exit_code == 0, lenient.stderr
    assert f"left out: {broken}" in lenient.stderr
    assert strict.exit_code == 2
    assert str(broken) in strict.stderr


def test_a_former_evaluation_is_left_alone_without_overwrite(bundle, on, evaluated):
    out, _ = evaluated
    before = (out / "evaluation.json").read_bytes()
    result = evaluate(bundle, *on, "--out", out)
    assert result.exit_code == 2
    assert "holds a former result: choose another --out or pass --overwrite" in result.stderr
    assert (out / "evaluation.json").read_bytes() == before


def test_a_former_evaluation_is_replaced_with_overwrite(bundle, on, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "evaluation.json").write_text("{}")
    result = evaluate(bundle, *on, "--patients", "SC-PH-2", "--threads", 1, "--out", out, "--overwrite")
    assert result.exit_code == 0, result.stderr
    assert document(out)["definitions_version"] == 1


def test_a_folder_with_other_things_is_never_replaced(bundle, on, tmp_path):
    (tmp_path / "thesis.txt").write_text("precious")
    result = evaluate(bundle, *on, "--out", tmp_path, "--overwrite")
    assert result.exit_code == 2
    assert "is not a former result" in result.stderr
    assert (tmp_path / "thesis.txt").read_text() == "precious"


def test_a_missing_package_is_one_line_that_names_the_extra():
    code = (
        "import sys; sys.modules['matplotlib'] = None; sys.argv = ['lvseg-evaluate', 'x']; "
        "from lvseg_export.commands import evaluate; evaluate()"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert result.stderr.endswith("is not installed; run: pip install 'lvseg[export]'\n")
    assert len(result.stderr.splitlines()) == 1


def test_a_run_without_torch_is_one_line_that_names_the_extra(trained_run, on):
    code = (
        "import sys; sys.modules['torch'] = None; from lvseg_export.evaluate_cli import main; "
        f"main({[str(argument) for argument in (trained_run, *on)]!r})"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (
        2,
        "error: torch is not installed; run: pip install 'lvseg[export]'\n",
    )
