import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("openvino", reason="OpenVINO is not installed: pip install 'lvseg[openvino]'")

from lvseg.errors import EngineError
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
from lvseg_export.engines.openvino import OpenVinoEngine, lacking


@pytest.mark.parametrize("shape", [(1, 96, 112), (3, 131, 97)])
def test_it_says_what_onnxruntime_says(exported, shape):
    batch, rows, columns = shape
    pixels = np.random.default_rng(2).gamma(2, 150, (batch, 1, rows, columns)).astype(np.float32)
    found = OpenVinoEngine(exported[1], precision="fp32").run(pixels)
    expected = OnnxRuntimeEngine(exported[1], precision="fp32").run(pixels)
    assert (found.mask.dtype, found.probability.dtype) == (np.uint8, np.float32)
    assert np.count_nonzero(found.mask != expected.mask) <= 1e-4 * expected.mask.size
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)


def test_an_answer_stays_when_the_next_is_given(exported):
    engine = OpenVinoEngine(exported[1], precision="fp32")
    random = np.random.default_rng(3)
    first, second = (random.gamma(2, 150, (1, 1, 64, 64)).astype(np.float32) for _ in range(2))
    answer = engine.run(first)
    before = answer.probability.copy()
    engine.run(second)
    np.testing.assert_array_equal(answer.probability, before)


def test_runs_beside_each_other_answer_as_runs_one_by_one(exported):
    engine = OpenVinoEngine(exported[1], precision="fp32", threads=1)
    pixels = np.random.default_rng(2).gamma(2, 150, (40, 1, 1, 64, 64)).astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(engine.run, pixels))
    for one, found in zip(pixels, together, strict=True):
        np.testing.assert_array_equal(found.probability, engine.run(one).probability)


def test_pixels_that_are_no_block_of_memory_are_taken(exported):
    engine = OpenVinoEngine(exported[1], precision="fp32")
    pixels = np.random.default_rng(4).gamma(2, 150, (2, 1, 64, 96)).astype(np.float32)
    strided = pixels[..., ::2]
    np.testing.assert_array_equal(
        engine.run(strided).probability, engine.run(np.ascontiguousarray(strided)).probability
    )


def test_what_is_no_batch_of_slices_is_refused(exported):
    with pytest.raises(EngineError, match=r"expected float32 pixels of shape \(N, 1, H, W\), got"):
        OpenVinoEngine(exported[1], precision="fp32").run(np.zeros((64, 64), np.float32))


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"not a graph")
    with pytest.raises(EngineError, match=r"OpenVINO .* cannot load it"):
        OpenVinoEngine(path, precision="fp32")


def test_bf16_is_refused_where_the_processor_has_none(exported):
    if not lacking("bf16"):
        pytest.skip("this processor has bf16")
    with pytest.raises(EngineError, match="no bf16 instructions; take another precision"):
        OpenVinoEngine(exported[1], precision="bf16")


def test_bf16_is_close_where_the_processor_has_it(exported):
    if lacking("bf16"):
        pytest.skip(lacking("bf16"))
    pixels = np.random.default_rng(5).gamma(2, 150, (1, 1, 96, 96)).astype(np.float32)
    found = OpenVinoEngine(exported[1], precision="bf16").run(pixels)
    expected = OpenVinoEngine(exported[1], precision="fp32").run(pixels)
    np.testing.assert_allclose(found.probability, expected.probability, atol=0.05)


_TWO_CLOSED = """
import gc, os, signal, sys
from pathlib import Path
from lvseg_export.engines.openvino import OpenVinoEngine
signal.signal(signal.SIGUSR1, lambda *_: print("caught"))
engines = [OpenVinoEngine(Path(sys.argv[1]), precision="fp32", threads=1) for _ in range(2)]
for _ in range(2):
    engines.pop(0)
    gc.collect()
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_a_signal_is_survived_when_engines_were_closed_in_the_order_in_which_they_were_opened(bundle):
    command = [sys.executable, "-c", _TWO_CLOSED, bundle / "model.onnx"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("caught\n", 0)
