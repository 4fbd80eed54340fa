"""Arithmetic counted by hand, and by PyTorch's own counter."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

from lvseg.errors import BundleError
from lvseg_export.flops import flops_of_slice
from lvseg_export.graph import ServedModel


def write_graph(path: Path, nodes: list[onnx.NodeProto], **weights: tuple[int, ...]) -> Path:
    sizes = ("batch", 1, "height", "width")
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.zeros(shape, np.float32), name) for name, shape in weights.items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("test", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path


def test_each_convolution_is_counted_as_by_hand(tmp_path):
    nodes = [
        helper.make_node("Conv", ["pixels", "down"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "each"], ["c"], group=2),
        helper.make_node("ConvTranspose", ["c", "up"], ["out"], strides=[2, 2]),
    ]
    path = write_graph(tmp_path / "tiny.onnx", nodes, down=(2, 1, 3, 3), each=(2, 1, 1, 1), up=(2, 1, 2, 2))
    # 5 x 7 pixels become 3 x 4 places: 12 of 18 weights, 12 of 2 (one for each group), and, transposed, 12 of 8.
    assert flops_of_slice(path, 5, 7) == 2 * (12 * 18 + 12 * 2 + 12 * 8)


def test_every_network_is_counted_as_by_pytorch(exported):
    model, path = exported
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        ServedModel(model).eval()(torch.rand(1, 1, 93, 107))
    assert flops_of_slice(path, 93, 107) == counter.get_total_flops() > 0


def test_a_size_that_does_not_follow_is_told(tmp_path):
    nodes = [
        helper.make_node("Mystery", ["pixels"], ["a"], domain="test"),
        helper.make_node("Conv", ["a", "weight"], ["out"], name="after"),
    ]
    path = write_graph(tmp_path / "tiny.onnx", nodes, weight=(2, 1, 3, 3))
    with pytest.raises(BundleError, match="the size of Conv after does not follow from a slice of 5 x 7"):
        flops_of_slice(path, 5, 7)
