from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from lvseg.errors import EngineError
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine


def test_a_slice_in_a_batch_gets_the_answer_it_gets_alone(exported):
    engine = OnnxRuntimeEngine(exported[1], precision="fp32")
    pixels = np.random.default_rng(2).gamma(2, 150, (3, 1, 96, 112)).astype(np.float32)
    together = engine.run(pixels)
    for index, one in enumerate(pixels):
        alone = engine.run(one[None])
        np.testing.assert_allclose(alone.probability[0], together.probability[index], atol=1e-5)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((64, 64), np.float32),
        np.zeros((1, 3, 64, 64), np.float32),
        np.zeros((0, 1, 64, 64), np.float32),
        np.zeros((1, 1, 64, 64), np.float64),
    ],
)
def test_what_is_no_batch_of_slices_is_refused(exported, pixels):
    with pytest.raises(EngineError, match=r"expected float32 pixels of shape \(N, 1, H, W\), got"):
        OnnxRuntimeEngine(exported[1], precision="fp32").run(pixels)


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineError, match="cannot load it"):
        OnnxRuntimeEngine(path, precision="fp32")


def test_a_graph_of_another_contract_is_refused(tmp_path):
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "other", value[:1], value[1:])
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)]), path)
    with pytest.raises(EngineError, match=r"inputs and outputs are .* expected .*pixels"):
        OnnxRuntimeEngine(path, precision="fp32")


def test_the_number_of_threads_is_the_one_asked_for(exported):
    assert OnnxRuntimeEngine(exported[1], precision="fp32", threads=1).threads == 1


def test_runs_beside_each_other_answer_as_runs_one_by_one(exported):
    engine = OnnxRuntimeEngine(exported[1], precision="fp32", threads=1)
    pixels = np.random.default_rng(2).gamma(2, 150, (40, 1, 1, 64, 64)).astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine.run, pixels))
    for one, found in zip(pixels, together, strict=True):
        np.testing.assert_array_equal(found.probability, engine.run(one).probability)
