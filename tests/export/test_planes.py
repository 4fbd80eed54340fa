"""Three planes in the exported graph: one where they are the same, three where they differ."""

import numpy as np
import onnx
import pytest
import torch

from lvseg.models import NetworkOptions, build_model
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
from lvseg_export.engines.torch import TorchEngine
from lvseg_export.onnx import write_onnx


@pytest.mark.parametrize(
    ("normalisation", "trunk", "planes", "spread"),
    [
        ("grey-116", "published", 1, 0.01),
        ("bgr-means", "published", 3, 0.01),
        ("imagenet", "torchvision", 3, 1.0),
    ],
)
def test_the_graph_has_as_many_planes_as_differ(normalisation, trunk, planes, spread, tmp_path):
    torch.manual_seed(0)
    options = NetworkOptions(
        width=0.125, fc_channels=16, input_channels=3, normalisation=normalisation, trunk=trunk
    )
    model = build_model("fcn-alexnet", options).eval()
    torch.nn.init.normal_(model.network.score_fr.weight, std=spread)
    write_onnx(model, tmp_path / "model.onnx")
    graph = onnx.load(tmp_path / "model.onnx").graph
    assert [tuple(weight.dims) for weight in graph.initializer if weight.dims[1:] == [planes, 11, 11]]
    pixels = np.random.default_rng(0).gamma(2, 150, (2, 1, 97, 120)).astype(np.float32)
    found = OnnxRuntimeEngine(tmp_path / "model.onnx", precision="fp32").run(pixels)
    expected = TorchEngine(model).run(pixels)
    assert expected.probability.std() > 0.01
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)
