"""lvseg-bench in this process, but for what it starts itself."""

import dataclasses
import io
import json
import shutil
import sys

import pydicom
import pytest
from click.testing import CliRunner, Result

from lvseg_export.bundle import load_bundle
from lvseg_export.choice import RUNTIMES
from lvseg_export.engines.base import Split
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
from lvseg_serve.bench import options
from lvseg_serve.bench.cli import main
from lvseg_serve.bench.slice import phantom_dicom

QUICK = ("--engine", "onnxruntime", "--threads", "1", "--calls", "2", "--warmup", "1")


def bench(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images", "."), "--images and --contours go together"),
        (("--size", "128", "--image", __file__), "--image and --size exclude each other"),
        (("--size", "32"), "Invalid value for '--size': 32 is not in the range 64<=x<=1024"),
        (("--rate", "5", "--concurrency", "2"), "--rate and --concurrency exclude each other"),
        (("--rate", "5"), "--rate goes with --server"),
        (("--token-file", "tokens"), "--token-file goes with --server"),
        (("--tls-ca", "ca.pem"), "--tls-ca goes with --server"),
        (("--rate", "0", "--server", "a:1"), "Invalid value for '--rate': 0.0 is not in the range x>0"),
        (("--concurrency", "2"), "--concurrency goes with --server"),
        (("--seconds", "5", "--server", "a:1"), "--seconds goes with --rate, or a --concurrency above 1"),
        (
            ("--rate", "0.01", "--seconds", "5", "--server", "a:1"),
            "a --rate of 0.01 slices a second sends none in 5 s: give more --seconds",
        ),
        (("--torch-compile",), "--torch-compile goes with --run"),
        (("--server", "nowhere"), "--server: 'nowhere' is not an address"),
        (("--json", "/nowhere/a.json"), "/nowhere: no such folder"),
        (("--plot", "/nowhere/a.png"), "/nowhere: no such folder"),
        (("--plot", __file__), f"{__file__} exists: choose another --plot or pass --overwrite"),
        (("--compare", __file__), f"{__file__} is not JSON"),
        (("--compare", "/nowhere"), "Invalid value for '--compare': File '/nowhere' does not exist"),
        (("--batch", "1,0"), "Invalid value for '--batch': expected whole numbers above 0"),
    ],
)
def test_options_that_cannot_be_are_one_line_before_anything_is_loaded(arguments, message):
    result = bench("/no/bundle", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1


def test_a_picture_without_matplotlib_names_what_installs_it(tmp_path, monkeypatch):
    monkeypatch.setattr("lvseg_serve.bench.outputs.find_spec", lambda _: None)
    result = bench("/no/bundle", "--plot", tmp_path / "a.png")
    assert result.exit_code == 2
    assert result.stderr == "error: matplotlib is not installed; run: pip install 'lvseg[export]'\n"


def test_batches_are_measured_once_each_in_the_order_given():
    assert options._batches(None, None, "4,1,4") == (4, 1)


def test_a_run_is_measured_in_pytorch_beside_its_bundle(bundle, trained_run, tmp_path):
    outputs = ("--json", tmp_path / "a.json", "--plot", tmp_path / "a.png")
    result = bench(bundle, *QUICK, "--batch", "1,2", "--run", trained_run, *outputs)
    assert result.exit_code == 0, result.stderr
    written = json.loads((tmp_path / "a.json").read_text())
    assert [(row["engine"], row["batch"]) for row in written["rows"]] == [
        ("onnxruntime-cpu", 1),
        ("onnxruntime-cpu", 2),
        ("torch-cpu", 1),
        ("torch-cpu", 2),
    ]
    for row in written["rows"]:
        assert min(row["load_ms"], row["first_ms"], row["gflop_per_s"], row["peak_share"]) > 0
        assert len(row["latencies_ms"]) == row["calls"] == 2
    assert written["rows"][1]["gflop"] == pytest.approx(2 * written["rows"][0]["gflop"])
    assert written["environment"]["threads"] == 1
    assert (tmp_path / "a.png").stat().st_size > 0
    again = bench(bundle, *QUICK, "--batch", "1", "--compare", tmp_path / "a.json")
    assert again.exit_code == 0, again.stderr
    assert "new/old" in again.stdout
    assert "only in" in again.stdout


def test_what_an_engine_tells_of_its_transfers_is_in_table_and_file(bundle, tmp_path, monkeypatch):
    class Telling(OnnxRuntimeEngine):
        def split_ms(self, pixels):
            return Split(0.25, 4.0 * len(pixels), 0.5)

    def load(path, precision, threads, _plans):
        return Telling(path, precision=precision, threads=threads)

    telling = dataclasses.replace(RUNTIMES["onnxruntime"], engine=load)
    monkeypatch.setitem(RUNTIMES, "onnxruntime", telling)
    result = bench(bundle, *QUICK, "--batch", "1,2", "--json", tmp_path / "a.json")
    assert result.exit_code == 0, result.stderr
    rows = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert [row["split"]["compute_ms"] for row in rows] == [4, 8]
    (line,) = (
        line for line in result.stdout.splitlines() if line.startswith(" onnxruntime-cpu  fp32           2")
    )
    assert line.split()[8:11] == ["0.250", "8.00", "0.500"]


def test_a_run_of_other_weights_is_refused(bundle, trained_run, tmp_path):
    other = shutil.copytree(bundle, tmp_path / "other")
    manifest = load_bundle(bundle).manifest
    renamed = dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, version="0" * 12))
    (other / "manifest.json").write_text(renamed.to_json())
    result = bench(other, *QUICK, "--run", trained_run)
    assert result.exit_code == 2
    assert f"holds the weights {manifest.model.version} and the bundle 000000000000" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_larger_matrix_has_pixels_as_large_and_so_a_larger_grid(bundle, tmp_path):
    small, usual = (pydicom.dcmread(io.BytesIO(phantom_dicom(size))) for size in (128, 256))
    assert (small.Rows, usual.Rows) == (128, 256)
    assert list(small.PixelSpacing) == pytest.approx(list(usual.PixelSpacing), abs=1e-5)
    result = bench(bundle, *QUICK, "--batch", "1", "--size", "128", "--json", tmp_path / "a.json")
    assert result.exit_code == 0, result.stderr
    sizes = json.loads((tmp_path / "a.json").read_text())["slice"]
    spacing = load_bundle(bundle).manifest.input.working_spacing_mm
    expected = round(128 * float(usual.PixelSpacing[0]) / spacing)
    assert (sizes["rows"], sizes["columns"]) == (128, 128)
    assert sizes["working_rows"] == pytest.approx(expected, abs=1)


def test_without_onnx_arithmetic_is_not_told(bundle, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.delitem(sys.modules, "lvseg_export.flops", raising=False)
    result = bench(bundle, *QUICK, "--batch", "1", "--json", tmp_path / "a.json")
    assert result.exit_code == 0, result.stderr
    assert "GFLOP/s are not told: onnx is not installed; run: pip install 'lvseg[export]'" in result.stderr
    assert json.loads((tmp_path / "a.json").read_text())["rows"][0]["gflop_per_s"] is None


def test_pytorch_that_is_not_installed_names_what_installs_it(bundle, trained_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "lvseg_export.trained", raising=False)
    result = bench(bundle, *QUICK, "--run", trained_run)
    assert result.exit_code == 2
    assert result.stderr == "error: torch is not installed; run: pip install 'lvseg[export]'\n"


def test_a_server_that_is_not_there_is_told_before_an_engine_is_loaded(bundle):
    result = bench(bundle, *QUICK, "--server", "127.0.0.1:1")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: no server at 127.0.0.1:1 answers")
    assert "measuring" not in result.stderr
