"""Training, exporting, serving and segmenting, each a process of its own, as a user runs them."""

import csv
import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from lvseg.contour import contour_to_mask, read_contour
from lvseg_export.bundle import load_bundle
from lvseg_export.choice import RUNTIMES
from lvseg_serve.client import Client


def lvseg(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name(name)), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def server(bundle: Path) -> Iterator[str]:
    """The address of a server of the tiny bundle."""
    command = [str(Path(sys.executable).with_name("lvseg-serve")), str(bundle), "--engine", "onnxruntime"]
    with subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
    ) as process:
        ready = re.search(r"on (127\.0\.0\.1:\d+);", process.stdout.readline())
        assert ready
        yield ready[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0


@pytest.fixture(scope="module")
def results(server: str, phantom: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lvseg-segment wrote for the patient that the tiny model was validated on."""
    out = tmp_path_factory.mktemp("results") / "masks"
    images = phantom / "challenge_training" / "SC-PH-02"
    segmented = lvseg("lvseg-segment", images, "--server", server, "--contours", phantom, "--out", out)
    assert segmented.returncode == 0, segmented.stderr
    return out


def test_the_server_scores_each_slice_as_the_training_did(results, trained_run):
    trained = {
        row["slice"].split("/")[1]: float(row["dice"]) for row in table(trained_run / "validation.csv")
    }
    served = {
        Path(row["file"]).stem.split("-")[-1]: float(row["dice"])
        for row in table(results / "segmentation.csv")
    }
    assert max(trained.values()) > 0.3
    # A pixel whose probability is a half may fall on either side: 0.001 of Dice in the smallest slices.
    assert served == pytest.approx(trained, abs=2e-3)


def test_every_slice_has_a_mask_an_overlay_and_a_row(results, phantom):
    images = sorted(path.stem for path in (phantom / "challenge_training" / "SC-PH-02").iterdir())
    for kind in ("mask.png", "overlay.png"):
        assert sorted(path.name.removesuffix(f".{kind}") for path in results.glob(f"*.{kind}")) == images
    assert len(table(results / "segmentation.csv")) == len(images)


def test_without_a_server_the_answers_are_the_same(results, bundle, phantom, tmp_path):
    images, out = phantom / "challenge_training" / "SC-PH-02", tmp_path / "masks"
    local = ("--local", "--bundle", bundle, "--contours", phantom)
    segmented = lvseg("lvseg-segment", images, *local, "--out", out)
    assert segmented.returncode == 0, segmented.stderr
    files = [[row["file"] for row in table(folder / "segmentation.csv")] for folder in (out, results)]
    assert files[0] == files[1]
    for mask in results.glob("*.mask.png"):
        here, there = (np.asarray(Image.open(path)) for path in (out / mask.name, mask))
        assert np.count_nonzero(here != there) <= 2


def test_the_written_contour_fills_to_the_largest_part_of_the_written_mask(results):
    contour_path = max(results.glob("*.contour.txt"), key=lambda path: path.stat().st_size)
    with Image.open(results / contour_path.name.replace("contour.txt", "mask.png")) as picture:
        assert picture.mode == "1"
        mask = np.asarray(picture)
    parts, _ = ndimage.label(mask)
    largest = ndimage.binary_fill_holes(parts == np.bincount(parts.ravel())[1:].argmax() + 1)
    assert np.array_equal(contour_to_mask(read_contour(contour_path), mask.shape), largest)


def test_the_server_tells_the_model_of_its_bundle(server, bundle):
    manifest = json.loads((bundle / "manifest.json").read_text())
    with Client(server) as client:
        info = client.server_info()
    assert (info.model.version, info.model.sha256) == (
        manifest["model"]["version"],
        manifest["sha256"]["model.onnx"],
    )


def test_the_benchmark_measures_engine_and_server_in_one_run(server, bundle, tmp_path):
    path = tmp_path / "bench.json"
    counts = ("--calls", 3, "--warmup", 1)
    result = lvseg(
        "lvseg-bench", bundle, "--engine", "onnxruntime", "--server", server, *counts, "--json", path
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads(path.read_text())["rows"]
    assert [(row["engine"], row["precision"], row["batch"]) for row in rows] == [
        ("onnxruntime-cpu", "fp32", 1),
        ("onnxruntime-cpu", "fp32", 4),
        ("onnxruntime-cpu via gRPC", "fp32", 1),
    ]
    assert all(0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] for row in rows)


def test_the_benchmark_measures_all_engines_with_their_dice(bundle, phantom, tmp_path):
    path = tmp_path / "bench.json"
    labels = ("--images", phantom, "--contours", phantom)
    result = lvseg(
        "lvseg-bench", bundle, "--engine", "all", "--batch", 1, "--calls", 2, *labels, "--json", path
    )
    assert result.returncode == 0, result.stderr
    rows = json.loads(path.read_text())["rows"]
    assert [(row["engine"], row["precision"]) for row in rows[:1]] == [("onnxruntime-cpu", "fp32")]
    can_run = [name for name, runtime in RUNTIMES.items() if runtime.installed and not runtime.lacks("fp32")]
    devices = {"onnxruntime": "onnxruntime-cpu", "openvino": "openvino-cpu", "tensorrt": "tensorrt-cuda"}
    assert {row["engine"] for row in rows} == {devices.get(name, name) for name in can_run}
    assert rows[0]["ratio"] == 1.0
    assert [row["dice"] for row in rows] == [pytest.approx(rows[0]["dice"], abs=1e-3)] * len(rows)


def test_the_benchmark_loads_a_server_at_a_rate_and_by_callers(server, bundle, tmp_path):
    one_row = ("--engine", "onnxruntime", "--batch", 1, "--calls", 2, "--seconds", 2, "--server", server)
    rows = {}
    for loop in (("--rate", 5), ("--concurrency", 2)):
        path = tmp_path / f"{loop[0]}.json"
        result = lvseg("lvseg-bench", bundle, *one_row, *loop, "--json", path)
        assert result.returncode == 0, result.stderr
        alone, loaded = json.loads(path.read_text())["rows"]
        assert (alone["loop"], alone["stages"], loaded["ratio"]) == ("closed 1", None, None)
        assert loaded["calls"] == len(loaded["latencies_ms"]) > 0
        assert loaded["p50_ms"] <= loaded["p99_ms"] <= loaded["max_ms"]
        mean_ms = sum(loaded["latencies_ms"]) / loaded["calls"]
        assert sum(loaded["stages"].values()) == pytest.approx(mean_ms, rel=1e-3)
        assert loaded["stages"]["inference_ms"] > 0
        rows[loaded["loop"]] = loaded
    assert set(rows) == {"open 5/s", "closed 2"}


def test_the_benchmark_refuses_a_server_of_another_model(server, bundle, tmp_path):
    other = shutil.copytree(bundle, tmp_path / "other")
    manifest = load_bundle(bundle).manifest
    renamed = dataclasses.replace(manifest, model=dataclasses.replace(manifest.model, version="0" * 12))
    (other / "manifest.json").write_text(renamed.to_json())
    result = lvseg("lvseg-bench", other, "--server", server)
    assert result.returncode == 2
    assert "start lvseg-serve with this bundle" in result.stderr


@pytest.mark.parametrize("arguments", [("--batch", "0"), ("--batch", "one"), ("--calls", "0")])
def test_an_impossible_benchmark_is_one_line(bundle, arguments):
    result = lvseg("lvseg-bench", bundle, *arguments)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1


def test_a_bundle_with_a_changed_byte_is_not_served(bundle, tmp_path):
    copy = shutil.copytree(bundle, tmp_path / "bundle")
    with (copy / "model.onnx").open("r+b") as stream:
        stream.seek(1000)
        stream.write(b"\x00\xff")
    result = lvseg("lvseg-serve", copy, "--listen", "127.0.0.1:0")
    assert result.returncode == 2
    assert re.fullmatch(r"error: \S+model\.onnx has changed since export: .*; copy .*\n", result.stderr)
