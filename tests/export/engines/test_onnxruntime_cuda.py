import numpy as np
import pytest

from lvseg.errors import EngineError
from lvseg_export.engines import gpu, marks, onnxruntime_cuda
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine, check_distributions
from lvseg_export.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine, lacking


class OnProcessor(OnnxRuntimeCudaEngine):
    """The same tensors and bindings, where there is no GPU."""

    provider, device = "CPUExecutionProvider", "cpu"
    settings: dict[str, str] = {}  # noqa: RUF012 - never changed


@pytest.fixture
def without_gpu(monkeypatch):
    monkeypatch.setattr(gpu, "_DRIVER", "libnone.so.1")


@pytest.fixture
def engine(exported, monkeypatch):
    monkeypatch.setattr(onnxruntime_cuda, "lacking", lambda _precision: "")
    return OnProcessor(exported[1], precision="fp32")


def gamma(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).gamma(2, 150, shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(1, 1, 96, 112), (3, 1, 131, 97)])
def test_bound_tensors_give_what_the_cpu_engine_gives(exported, engine, shape):
    expected = OnnxRuntimeEngine(exported[1], precision="fp32").run(gamma(*shape))
    for _ in range(2):  # the second time in the tensors of the first
        found = engine.run(gamma(*shape))
        np.testing.assert_array_equal(found.mask, expected.mask)
        np.testing.assert_allclose(found.probability, expected.probability, atol=1e-5)
    assert (found.mask.dtype, found.probability.dtype) == (np.uint8, np.float32)


def test_an_answer_stays_when_the_next_is_given(engine):
    first = engine.run(gamma(1, 1, 64, 64))
    before = first.probability.copy()
    engine.run(gamma(1, 1, 64, 64)[..., ::-1])
    np.testing.assert_array_equal(first.probability, before)


def test_tensors_are_kept_for_a_few_shapes(engine, monkeypatch):
    monkeypatch.setattr(onnxruntime_cuda, "_SHAPES_KEPT", 2)
    for side in (64, 72, 80, 72):
        engine.run(gamma(1, 1, side, 64))
    assert list(engine._bound) == [(1, 1, 80, 64), (1, 1, 72, 64)]


def test_a_split_is_of_the_three_calls(engine, monkeypatch):
    now_s = 0.0

    def slow(owner, name: str, takes_s: float) -> None:
        called = getattr(owner, name)

        def call(*arguments):
            nonlocal now_s
            now_s += takes_s
            return called(*arguments)

        monkeypatch.setattr(owner, name, call)

    slow(onnxruntime_cuda.ort.OrtValue, "update_inplace", 0.001)
    slow(engine._session, "run_with_iobinding", 0.01)
    slow(onnxruntime_cuda.ort.OrtValue, "numpy", 0.1)
    monkeypatch.setattr(marks, "perf_counter", lambda: now_s)
    expected = engine.run(gamma(1, 1, 64, 64))
    for shape in ((1, 1, 64, 64), (2, 1, 64, 72)):  # run before, and not
        assert engine.split_ms(gamma(*shape)) == pytest.approx((1, 10, 200))  # two tensors come back
    np.testing.assert_array_equal(engine.run(gamma(1, 1, 64, 64)).probability, expected.probability)


def test_what_is_no_batch_of_slices_is_refused(engine):
    with pytest.raises(EngineError, match=r"expected float32 pixels of shape \(N, 1, H, W\), got"):
        engine.run(np.zeros((64, 64), np.float32))


def test_a_provider_that_makes_room_for_the_cpu_is_refused(exported, monkeypatch):
    monkeypatch.setattr(onnxruntime_cuda, "lacking", lambda _precision: "")

    class Absent(OnProcessor):
        def __init__(self, *arguments, **options) -> None:
            with monkeypatch.context() as patched:
                patched.setattr(onnxruntime_cuda.ort.InferenceSession, "get_providers", lambda _: ["CPU"])
                super().__init__(*arguments, **options)

    with pytest.raises(EngineError, match=r"cannot load the libraries of CUDA and cuDNN .*lvseg\[gpu\]"):
        Absent(exported[1], precision="fp32")


def test_a_machine_without_a_driver_says_so(exported, without_gpu):
    with pytest.raises(
        EngineError, match=r"no NVIDIA GPU: libnone\.so\.1 cannot be loaded; install NVIDIA's driver"
    ):
        OnnxRuntimeCudaEngine(exported[1], precision="fp32")


def test_the_onnxruntime_of_cpus_names_the_one_of_gpus(monkeypatch):
    monkeypatch.setattr(onnxruntime_cuda, "compute_capability", lambda: (9, 0))
    monkeypatch.setattr(onnxruntime_cuda.ort, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert "pip uninstall -y onnxruntime && pip install 'lvseg[gpu]'" in lacking("fp32")


@pytest.mark.parametrize(
    "installed", [(), ("onnxruntime",), ("onnxruntime-gpu",), ("onnxruntime", "onnxruntime-gpu")]
)
def test_two_distributions_of_onnxruntime_are_an_error(tmp_path, installed):
    for name in installed:
        folder = tmp_path / f"{name.replace('-', '_')}-1.27.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.27.0\n")
    if len(installed) < 2:
        check_distributions([str(tmp_path)])
        return
    with pytest.raises(
        EngineError,
        match=r"onnxruntime and onnxruntime-gpu are both installed.*pip uninstall -y onnxruntime onnxruntime-gpu",
    ):
        check_distributions([str(tmp_path)])


@pytest.mark.gpu
@pytest.mark.parametrize("on_gpu", ["onnxruntime-cuda"], indirect=True)
@pytest.mark.usefixtures("on_gpu")
@pytest.mark.parametrize("shape", [(1, 1, 96, 112), (3, 1, 131, 97)])
def test_the_gpu_says_what_the_cpu_says(exported, shape):
    expected = OnnxRuntimeEngine(exported[1], precision="fp32").run(gamma(*shape))
    engine = OnnxRuntimeCudaEngine(exported[1], precision="fp32")
    for _ in range(2):
        found = engine.run(gamma(*shape))
        assert np.count_nonzero(found.mask != expected.mask) <= 1e-4 * expected.mask.size
        np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("on_gpu", ["onnxruntime-cuda"], indirect=True)
@pytest.mark.usefixtures("on_gpu")
def test_each_part_of_a_run_takes_its_time(exported):
    engine = OnnxRuntimeCudaEngine(exported[1], precision="fp32")
    engine.run(gamma(3, 1, 131, 97))
    assert min(engine.split_ms(gamma(3, 1, 131, 97))) > 0
