"""The fp16, bf16 and int8 files of a bundle."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from click.testing import CliRunner, Result
from onnx import TensorProto, numpy_helper
from onnx.reference import ReferenceEvaluator

from lvseg.metrics import dice
from lvseg.models import NetworkOptions, build_model
from lvseg_export.bundle import load_bundle
from lvseg_export.choice import RUNTIMES, find_candidates, load_engine
from lvseg_export.cli import main
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
from lvseg_export.engines.torch import TorchEngine
from lvseg_export.onnx import write_onnx
from lvseg_export.quantise import Quantiser
from lvseg_export.triton import triton_models


def export(*arguments: object) -> Result:
    return CliRunner().invoke(main, list(map(str, arguments)))


@pytest.fixture(scope="module")
def precise(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with every precision; read-only."""
    folder = tmp_path_factory.mktemp("bundles") / "precise"
    wanted = ("--precision", "fp16", "--precision", "bf16", "--precision", "int8")
    result = export(trained_run, "--out", folder, *wanted)
    assert result.exit_code == 0, result.stderr
    return folder


def test_each_precision_is_a_file_that_was_examined_or_says_that_it_was_not(precise):
    engines = load_bundle(precise).manifest.engines
    files = {engine.precision: engine.file for engine in engines}
    assert files == {
        "fp32": "model.onnx",
        "fp16": "model.fp16.onnx",
        "bf16": "model.bf16.onnx",
        "int8": "model.int8.onnx",
    }
    parity = json.loads((precise / "parity.json").read_text())
    examined = {result["file"] for result in parity["results"]}
    assert {engine.file for engine in engines if engine.examined} == examined
    assert examined >= set(files.values()) - {"model.bf16.onnx"}
    assert parity["not_examined"] == sorted(set(files.values()) - examined)


def test_bf16_is_examined_by_nothing_where_there_is_no_tensorrt(precise):
    if RUNTIMES["tensorrt"].installed and not RUNTIMES["tensorrt"].lacks("bf16"):
        pytest.skip("TensorRT is here, and examined it")
    card = (precise / "README.md").read_text()
    assert (
        "\nExamined by nothing, since no engine that was there at export runs it: `model.bf16.onnx`.\n"
        in card
    )
    candidates = find_candidates(load_bundle(precise))
    assert "model.bf16.onnx" not in {candidate.path.name for candidate in candidates}


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_precision_is_served_from_its_file(precise, precision):
    engine = load_engine(load_bundle(precise), "onnxruntime", precision, threads=1)
    assert engine.precision == precision
    assert engine.file == ("model.onnx" if precision == "fp32" else f"model.{precision}.onnx")


def test_files_shrink_with_their_precision(precise):
    sizes = [(precise / file).stat().st_size for file in ("model.onnx", "model.fp16.onnx", "model.int8.onnx")]
    assert sizes == sorted(sizes, reverse=True)


def test_half_precision_is_of_the_layers_alone(precise):
    graph = onnx.load(precise / "model.fp16.onnx").graph
    weights = {tensor.name: tensor.data_type for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    assert {weights[node.input[1]] for node in convolutions} == {TensorProto.FLOAT16}
    inferred = onnx.shape_inference.infer_shapes(onnx.load(precise / "model.fp16.onnx")).graph
    types = {value.name: value.type.tensor_type.elem_type for value in inferred.value_info}
    for kind in ("ReduceMean", "Greater", "Sigmoid"):
        inputs = [node.input[0] for node in graph.node if node.op_type == kind]
        assert inputs
        assert {types.get(name, TensorProto.FLOAT) for name in inputs} == {TensorProto.FLOAT}


def test_bfloat16_is_of_the_layers_alone(precise):
    model = onnx.load(precise / "model.bf16.onnx")
    assert model.opset_import[0].version == 22  # the first whose convolutions take it
    onnx.checker.check_model(model, full_check=True)
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    found = {
        kind: {types[name] for node in graph.node if node.op_type == kind for name in node.input if name}
        for kind in ("Conv", "ConvTranspose", "ReduceMean", "Greater", "Sigmoid")
    }
    assert found["Conv"] == found["ConvTranspose"] == {TensorProto.BFLOAT16}
    assert found["Greater"] == found["Sigmoid"] == {TensorProto.FLOAT}
    assert found["ReduceMean"] <= {TensorProto.FLOAT, TensorProto.INT64}  # the second: which axes


def test_the_bf16_graph_says_what_the_trained_model_says(exported, tmp_path):
    model, _ = exported
    write_onnx(model, tmp_path / "model.onnx", layers=torch.bfloat16)
    pixels = np.random.default_rng(1).gamma(2, 150, (2, 1, 80, 65)).astype(np.float32)
    mask, probability = ReferenceEvaluator(str(tmp_path / "model.onnx")).run(None, {"pixels": pixels})
    trained = TorchEngine(model).run(pixels)
    assert (mask.dtype, probability.dtype) == (np.uint8, np.float32)
    assert mask.shape == probability.shape == (2, 80, 65)
    np.testing.assert_array_equal(mask, probability > 0.5)
    # bfloat16 has eight bits: about two decimal digits.
    np.testing.assert_allclose(probability, trained.probability, atol=0.03)
    assert min(map(dice, mask, trained.mask)) > 0.98


def test_no_bf16_is_written_into_a_repository_for_triton(precise):
    names = {model.engine.precision for model in triton_models(load_bundle(precise))}
    assert names == {"fp32", "fp16", "int8"}


@pytest.mark.parametrize("layers", [torch.float16, torch.bfloat16])
def test_local_response_norm_stays_float32_in_half_precision(tmp_path, layers):
    torch.manual_seed(0)
    model = build_model("fcn-alexnet", NetworkOptions(width=0.125, fc_channels=16, padding="same")).eval()
    write_onnx(model, tmp_path / "model.onnx", layers=layers)
    graph = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "model.onnx")).graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    lrn = [node for node in graph.node if node.op_type == "LRN"]
    assert [types[node.input[0]] for node in lrn] == [TensorProto.FLOAT] * 2


def test_writing_another_precision_leaves_the_model_as_it_is(tmp_path):
    model = build_model("fcn-8s", NetworkOptions(width=0.125, fc_channels=16)).eval()
    write_onnx(model, tmp_path / "model.onnx", layers=torch.float16)
    assert {weight.dtype for weight in model.state_dict().values()} == {torch.float32}


@pytest.fixture(scope="module")
def quantised(exported, tmp_path_factory) -> tuple[Quantiser, Path, Path]:
    scratch = tmp_path_factory.mktemp("int8")
    path = scratch / "model.int8.onnx"
    slices = [
        np.random.default_rng(seed).gamma(2, 150, (96 + 16 * seed, 112)).astype(np.float32)
        for seed in range(3)  # of three shapes
    ]
    quantiser = Quantiser(exported[1], slices, scratch=scratch)
    quantiser.write(path, float_layers=1)
    return quantiser, exported[1], path


def _quantised_inputs(graph) -> set[str]:
    return {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}


def test_scores_and_the_first_layer_stay_float32(quantised):
    quantiser, source, path = quantised
    classes = {tensor.name for tensor in onnx.load(source).graph.initializer if tensor.dims[:1] == [2]}
    graph = onnx.load(path).graph
    dequantised = _quantised_inputs(graph)
    floating = [node for node in graph.node if node.op_type == "Conv" and node.input[1] not in dequantised]
    assert floating[0].name == quantiser.convolutions[0]
    assert {node.input[1] for node in floating[1:]} <= classes
    assert len(floating) < len([node for node in graph.node if node.op_type == "Conv"])


def test_numbers_are_signed_and_without_zero_points(quantised):
    graph = onnx.load(quantised[2]).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    points = [
        constants[node.input[2]]
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) > 2
    ]
    assert points
    assert not any(np.any(point) for point in points)
    assert {point.dtype for point in points} <= {np.dtype(np.int8), np.dtype(np.int32)}  # int32: biases


def test_each_output_channel_of_a_weight_has_its_own_scale(quantised):
    graph = onnx.load(quantised[2]).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = [
        node
        for node in graph.node
        if node.op_type == "DequantizeLinear" and constants.get(node.input[0], np.empty(0)).ndim == 4
    ]
    assert weights
    for node in weights:
        assert constants[node.input[1]].shape == constants[node.input[0]].shape[:1]


def test_the_int8_graph_keeps_the_contract(quantised):
    pixels = np.random.default_rng(9).gamma(2, 150, (2, 1, 101, 130)).astype(np.float32)
    answer = OnnxRuntimeEngine(quantised[2], precision="int8").run(pixels)
    assert answer.mask.shape == answer.probability.shape == (2, 101, 130)


def test_the_int8_graph_of_as_many_layers_is_the_same_file_again(quantised, tmp_path):
    # By whose SHA-256 a TensorRT plan is found, also where the file was written again after others were tried.
    quantiser, _, path = quantised
    quantiser.write(tmp_path / "other.onnx", float_layers=2)
    quantiser.write(tmp_path / "again.onnx", float_layers=1)
    assert (tmp_path / "other.onnx").read_bytes() != path.read_bytes()
    assert (tmp_path / "again.onnx").read_bytes() == path.read_bytes()


def test_ranges_need_slices(exported, tmp_path):
    with pytest.raises(ValueError, match="expected slices to measure ranges on, got none"):
        Quantiser(exported[1], [], scratch=tmp_path)


def test_calibration_is_for_int8(trained_run, tmp_path):
    result = export(trained_run, "--out", tmp_path / "b", "--calibrate", tmp_path)
    assert (result.exit_code, result.stderr) == (
        2,
        "error: --calibrate is for int8: add --precision int8\n",
    )


def test_a_folder_without_slices_is_no_calibration(trained_run, tmp_path):
    (tmp_path / "empty").mkdir()
    options = ("--precision", "int8", "--calibrate", tmp_path / "empty")
    result = export(trained_run, "--out", tmp_path / "b", *options)
    assert result.exit_code == 2
    assert "holds no DICOM slice that can be read" in result.stderr
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize("option", [("--precision", "int8"), ("--triton", "repository"), ("--tensorrt",)])
def test_a_file_of_weights_takes_no_options_of_a_bundle(trained_run, tmp_path, option):
    result = export(trained_run, "--out", tmp_path / "net.caffemodel", *option)
    assert result.exit_code == 2
    assert "--cross-validation and --notes are for a bundle" in result.stderr


@pytest.mark.parametrize(("out", "triton"), [("a", "a"), ("a/b", "a"), ("a", "a/b")])
def test_bundle_and_repository_lie_beside_each_other(trained_run, tmp_path, out, triton):
    result = export(trained_run, "--out", tmp_path / out, "--triton", tmp_path / triton)
    assert result.exit_code == 2
    assert "are to be two folders beside each other" in result.stderr
