"""``lvseg-export --tensorrt``: what it asks of the machine, and what the plans are built for."""

import dataclasses
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from lvseg_export.bundle import load_bundle
from lvseg_export.choice import RUNTIMES, load_engine
from lvseg_export.cli import main
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
from lvseg_export.engines.plans import PlanOptions, Profile

PROFILE = ("--batch-opt", "2", "--batch-max", "4", "--side-opt", "128", "--side-max", "448")


def export(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


class InItsPlace(OnnxRuntimeEngine):
    """Answers for TensorRT, where there is none."""

    name = "tensorrt-cuda"


@pytest.fixture
def loaded(monkeypatch) -> list[tuple[str, PlanOptions]]:
    """The files that TensorRT, or what stands in its place, was given, and with what."""
    given: list[tuple[str, PlanOptions]] = []

    def load(path: Path, precision: str, _threads: int | None, plans: PlanOptions) -> OnnxRuntimeEngine:
        given.append((path.name, plans))
        return InItsPlace(path, precision=precision, threads=1)

    here = dataclasses.replace(
        RUNTIMES["tensorrt"], module="numpy", engine=load, lacking=lambda _precision: ""
    )
    monkeypatch.setitem(RUNTIMES, "tensorrt", here)
    return given


def test_every_file_is_examined_on_plans_of_the_options(trained_run, tmp_path, loaded):
    out, kept = tmp_path / "bundle", tmp_path / "plans"
    options = ("--precision", "int8", "--tensorrt", *PROFILE, "--engine-cache", kept)
    result = export(trained_run, "--out", out, *options)
    assert result.exit_code == 0, result.stderr
    profile = Profile(batch_opt=2, batch_max=4, side_opt=128, side_max=448)
    assert {plans for _, plans in loaded} == {PlanOptions(profile=profile, folder=kept)}
    assert {file for file, _ in loaded} == {"model.onnx", "model.int8.onnx"}
    parity = json.loads((out / "parity.json").read_text())["results"]
    examined = {one["file"] for one in parity if one["engine"] == "tensorrt-cuda"}
    assert examined == {"model.onnx", "model.int8.onnx"}
    assert result.stdout.splitlines()[-1] == (
        f"TensorRT's plans are in {kept}; start from them with: lvseg-serve {out} --engine tensorrt "
        f"{' '.join(PROFILE)} --engine-cache {kept}"
    )


def test_by_default_plans_are_kept_where_a_server_looks_for_them(trained_run, tmp_path, loaded, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "bundle"
    result = export(trained_run, "--out", out, "--tensorrt")
    assert result.exit_code == 0, result.stderr
    assert loaded == [("model.onnx", PlanOptions())]
    assert result.stdout.splitlines()[-1] == (
        f"TensorRT's plans are in {tmp_path / 'cache/lvseg/engines'}; start from them with: lvseg-serve {out} "
        "--engine tensorrt"
    )


def test_unasked_it_examines_with_its_defaults_and_says_nothing_of_plans(trained_run, tmp_path, loaded):
    result = export(trained_run, "--out", tmp_path / "bundle")
    assert result.exit_code == 0, result.stderr
    assert loaded == [("model.onnx", PlanOptions())]
    assert "plans" not in result.stdout


@pytest.mark.parametrize(
    ("lacking", "message"),
    [
        (
            lambda _precision: "no NVIDIA GPU: install NVIDIA's driver",
            "no NVIDIA GPU: install NVIDIA's driver",
        ),
        (lambda precision: "this GPU has no bf16" * (precision == "bf16"), "this GPU has no bf16"),
    ],
)
@pytest.mark.usefixtures("loaded")
def test_what_the_machine_lacks_is_an_error_before_anything_is_written(
    trained_run, tmp_path, monkeypatch, lacking, message
):
    lacks = dataclasses.replace(RUNTIMES["tensorrt"], lacking=lacking)
    monkeypatch.setitem(RUNTIMES, "tensorrt", lacks)
    options = ("--precision", "bf16", "--tensorrt", "--engine-cache", tmp_path / "plans")
    result = export(trained_run, "--out", tmp_path / "bundle", *options)
    assert (result.exit_code, result.stderr) == (2, f"error: tensorrt: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_tensorrt_that_is_not_installed_names_its_extra(trained_run, tmp_path, monkeypatch):
    missing = dataclasses.replace(RUNTIMES["tensorrt"], module="no_such_module")
    monkeypatch.setitem(RUNTIMES, "tensorrt", missing)
    result = export(trained_run, "--out", tmp_path / "bundle", "--tensorrt")
    assert (result.exit_code, result.stderr) == (
        2,
        "error: no_such_module is not installed; run: pip install 'lvseg[tensorrt]'\n",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", ["bundle", "net.caffemodel"])
@pytest.mark.parametrize(
    "option",
    [
        ("--batch-opt", "1"),  # what is the default too
        ("--batch-max", "8"),
        ("--side-opt", "128"),
        ("--side-max", "256"),
        ("--engine-cache", "plans"),
    ],
)
def test_options_of_plans_go_with_tensorrt(trained_run, tmp_path, out, option):
    result = export(trained_run, "--out", tmp_path / out, *option)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: {option[0]} is for TensorRT's plans: add --tensorrt\n",
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("loaded")
def test_options_that_contradict_each_other_are_told_before_anything_is_written(trained_run, tmp_path):
    result = export(trained_run, "--out", tmp_path / "bundle", "--tensorrt", "--batch-opt", "32")
    assert result.exit_code == 2
    assert result.stderr.startswith("error: --batch-opt 32 and --batch-max 16: expected 1 or more")
    assert list(tmp_path.iterdir()) == []


def test_plans_too_small_for_the_examination_are_refused_before_one_is_built(trained_run, tmp_path, loaded):
    options = ("--tensorrt", "--side-opt", "64", "--side-max", "64")
    result = export(trained_run, "--out", tmp_path / "bundle", *options)
    assert result.exit_code == 1
    assert "error: the plan takes slices of 32 to 64 rows and columns, got " in result.stderr
    assert "raise --side-max for larger ones" in result.stderr
    assert loaded == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["bundle", "bundle/plans", "repository/plans"])
@pytest.mark.usefixtures("loaded")
def test_plans_lie_neither_in_the_bundle_nor_in_the_repository(trained_run, tmp_path, folder):
    places = ("--out", tmp_path / "bundle", "--triton", tmp_path / "repository")
    kept = tmp_path / folder
    result = export(trained_run, *places, "--tensorrt", "--engine-cache", kept)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {kept} lies in {tmp_path / folder.partition('/')[0]}, which has")
    assert result.stderr.endswith("name another folder with --engine-cache\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.gpu
def test_a_server_starts_from_the_plans_that_were_built(trained_run, tmp_path, capsys):
    if not RUNTIMES["tensorrt"].installed:
        pytest.skip("tensorrt is not installed: pip install 'lvseg[tensorrt]'")
    if lacks := RUNTIMES["tensorrt"].lacks("fp16"):
        pytest.skip(lacks)
    out, kept = tmp_path / "bundle", tmp_path / "plans"
    options = ("--precision", "fp16", "--tensorrt", *PROFILE, "--engine-cache", kept)
    result = export(trained_run, "--out", out, *options)
    assert result.exit_code == 0, result.stderr
    bundle = load_bundle(out)
    for file in bundle.manifest.engines:
        assert len(list(kept.glob(f"{bundle.manifest.sha256[file.file]}-*.plan"))) == 1
    plans = PlanOptions(profile=Profile(batch_opt=2, batch_max=4, side_opt=128, side_max=448), folder=kept)
    capsys.readouterr()
    for precision in ("fp32", "fp16"):
        load_engine(bundle, "tensorrt", precision, plans=plans)
    assert "building" not in capsys.readouterr().err
