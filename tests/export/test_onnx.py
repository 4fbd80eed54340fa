"""The exported graph keeps the bundle's contract."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto

from lvseg.models import NetworkOptions, build_model
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
from lvseg_export.engines.torch import TorchEngine
from lvseg_export.onnx import weights_version


def signature(values):
    return {
        value.name: (
            value.type.tensor_type.elem_type,
            [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim],
        )
        for value in values
    }


def test_inputs_and_outputs_are_named_typed_and_of_any_size(exported):
    graph = onnx.load(exported[1]).graph
    assert signature(graph.input) == {"pixels": (TensorProto.FLOAT, ["batch", 1, "height", "width"])}
    assert signature(graph.output) == {
        "mask": (TensorProto.UINT8, ["batch", "height", "width"]),
        "probability": (TensorProto.FLOAT, ["batch", "height", "width"]),
    }


@pytest.mark.parametrize("shape", [(1, 256, 256), (3, 192, 256), (2, 241, 199), (1, 512, 512), (1, 160, 193)])
def test_the_graph_says_what_pytorch_says(exported, shape):
    model, path = exported
    batch, rows, columns = shape
    pixels = np.random.default_rng(0).gamma(2, 150, (batch, 1, rows, columns)).astype(np.float32)
    found = OnnxRuntimeEngine(path, precision="fp32").run(pixels)
    expected = TorchEngine(model).run(pixels)
    assert 0.01 < expected.mask.mean() < 0.99
    assert np.count_nonzero(found.mask != expected.mask) <= 1e-4 * expected.mask.size
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)


@pytest.mark.parametrize("value", [0.0, 1.0, 65535.0, -32768.0])
def test_a_constant_slice_gives_finite_probabilities(exported, value):
    pixels = np.full((1, 1, 64, 64), value, np.float32)
    assert np.isfinite(OnnxRuntimeEngine(exported[1], precision="fp32").run(pixels).probability).all()


def test_the_mask_is_where_the_probability_is_above_a_half(exported):
    pixels = np.random.default_rng(1).random((2, 1, 96, 96), np.float32)
    prediction = OnnxRuntimeEngine(exported[1], precision="fp32").run(pixels)
    undecided = np.abs(prediction.probability - 0.5) < 1e-6
    assert np.array_equal(prediction.mask[~undecided] == 1, (prediction.probability > 0.5)[~undecided])


def test_all_weights_are_in_the_file_and_no_trace_of_the_machine(exported):
    model = onnx.load(exported[1], load_external_data=False)
    assert not any(tensor.data_location == TensorProto.EXTERNAL for tensor in model.graph.initializer)
    assert b".py" not in exported[1].read_bytes()


def test_normalisation_uses_nothing_but_reductions_and_element_wise_operations(exported):
    kinds = {node.op_type for node in onnx.load(exported[1]).graph.node}
    assert not kinds & {"TopK", "Sort", "ArgMax", "NonZero", "Loop", "If"}


def test_local_response_norm_stays_one_node(exported):
    lrn = [node for node in onnx.load(exported[1]).graph.node if node.op_type == "LRN"]
    assert len(lrn) == (2 if "alexnet" in exported[1].name else 0)


def test_batch_normalisation_is_folded_into_the_convolutions(exported):
    assert not any(node.op_type == "BatchNormalization" for node in onnx.load(exported[1]).graph.node)


def test_equal_weights_have_equal_versions():
    torch.manual_seed(0)
    model = build_model("fcn-8s", NetworkOptions(width=0.125, fc_channels=16))
    before = weights_version(model)
    assert weights_version(model) == before
    with torch.no_grad():
        model.network.score_fr.bias += 1
    assert weights_version(model) != before
