import numpy as np
import pytest
import torch

from lvseg.errors import EngineError
from lvseg.models import NetworkOptions, build_model
from lvseg_export.engines import marks
from lvseg_export.engines.base import SplitsTime
from lvseg_export.engines.torch import TorchCudaEngine, TorchEngine

PIXELS = np.random.default_rng(0).random((2, 1, 48, 40), dtype=np.float32)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return build_model("fcn-8s", NetworkOptions(width=0.125, fc_channels=16)).eval()


def test_a_model_answers_under_the_name_of_how_it_runs(model, monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda served: served)
    plain, compiled = TorchEngine(model), TorchEngine(model, compiled=True)
    assert (plain.name, compiled.name) == ("torch-cpu", "torch-compile-cpu")
    assert np.array_equal(plain.run(PIXELS).probability, compiled.run(PIXELS).probability)
    assert plain.run(PIXELS).mask.shape == (2, 48, 40)


def test_what_pytorch_cannot_compile_is_an_engine_error_of_one_line(model, monkeypatch):
    def broken(_served):
        def run(_pixels):
            raise RuntimeError("no C++ compiler\nand a long trace")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(EngineError) as caught:
        TorchEngine(model, compiled=True).run(PIXELS)
    assert str(caught.value) == "PyTorch failed on a batch of shape (2, 1, 48, 40): no C++ compiler"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_told(model):
    with pytest.raises(EngineError, match="finds no GPU; take the CPU"):
        TorchCudaEngine(model)


class OnProcessor(TorchCudaEngine):
    """The same parts, where there is no GPU."""

    device = "cpu"


def test_a_split_waits_for_the_gpu_after_each_part(model, monkeypatch):
    now_s, pending_s = 0.0, 0.0

    def queued(call, takes_s: float):
        def queue(*arguments):
            nonlocal pending_s
            pending_s += takes_s
            return call(*arguments)

        return queue

    def synchronise() -> None:
        nonlocal now_s, pending_s
        now_s, pending_s = now_s + pending_s, 0.0

    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # so that it is put back
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronise)
    monkeypatch.setattr(torch, "from_numpy", queued(torch.from_numpy, 0.001))
    monkeypatch.setattr(torch.Tensor, "cpu", queued(torch.Tensor.cpu, 0.1))
    monkeypatch.setattr(marks, "perf_counter", lambda: now_s)
    engine = OnProcessor(model)
    engine._model = queued(engine._model, 0.01)
    engine.run(PIXELS)  # leaves work behind, which is not of the split
    assert engine.split_ms(PIXELS) == pytest.approx((1, 10, 200))  # two tensors come back


def test_on_the_cpu_there_is_nothing_to_split(model):
    assert not isinstance(TorchEngine(model), SplitsTime)
    assert issubclass(TorchCudaEngine, SplitsTime)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU")
def test_the_gpu_says_what_the_cpu_says(model):
    expected = TorchEngine(model).run(PIXELS)
    engine = TorchCudaEngine(model)
    found = engine.run(PIXELS)
    assert np.count_nonzero(found.mask != expected.mask) <= 1e-4 * expected.mask.size
    np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)
    assert min(engine.split_ms(PIXELS)) > 0
