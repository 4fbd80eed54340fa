import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lvseg.errors import EngineError
from lvseg_export.engines.gpu import compute_capability
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
from lvseg_export.engines.plans import PlanOptions, Profile

BINDINGS_TESTS = Path(__file__).with_name("with_bindings.py")


def has_gpu() -> bool:
    try:
        compute_capability()
    except EngineError:
        return False
    return True


without_gpu = pytest.mark.skipif(has_gpu(), reason="this machine has a GPU")


@without_gpu
def test_the_engine_does_its_part_between_the_bindings_and_the_caller(bindings):
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:randomly")
    result = bindings.run(sys.executable, "-m", "pytest", *options, BINDINGS_TESTS)
    assert result.returncode == 0, result.stdout


@without_gpu
def test_the_doctor_names_the_version_and_what_is_missing(bindings):
    said = bindings.python("from lvseg_serve.doctor_cli import main; main(standalone_mode=False)")
    (row,) = (line for line in said.splitlines() if "tensorrt" in line)
    assert bindings.tensorrt in row
    assert "no NVIDIA GPU: libcuda.so.1 cannot be loaded" in row


@without_gpu
def test_asked_for_where_there_is_no_gpu_it_is_one_line_and_exit_code_2(bindings, bundle):
    code = "import sys; from lvseg_serve.cli import main; sys.exit(main(sys.argv[1:]))"
    result = bindings.run(sys.executable, "-c", code, bundle, "--engine", "tensorrt")
    assert result.returncode == 2
    assert result.stderr == (
        "error: tensorrt: no NVIDIA GPU: libcuda.so.1 cannot be loaded; install NVIDIA's driver, and see that "
        "nvidia-smi lists a GPU\n"
    )


@without_gpu
def test_plans_asked_for_beforehand_without_a_gpu_are_one_line_and_nothing_is_written(
    bindings, trained_run, tmp_path
):
    code = "import sys; from lvseg_export.cli import main; sys.exit(main(sys.argv[1:]))"
    arguments = (
        trained_run,
        "--out",
        tmp_path / "bundle",
        "--tensorrt",
        "--engine-cache",
        tmp_path / "plans",
    )
    result = bindings.run(sys.executable, "-c", code, *arguments)
    assert result.returncode == 2
    assert result.stderr == (
        "error: tensorrt: no NVIDIA GPU: libcuda.so.1 cannot be loaded; install NVIDIA's driver, and see that "
        "nvidia-smi lists a GPU\n"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="session")
def plans(tmp_path_factory):
    profile = Profile(batch_max=4, side_opt=128, side_max=256)
    return PlanOptions(profile=profile, folder=tmp_path_factory.mktemp("plans"))


def gamma(*shape: int, seed: int = 2) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, 150, shape).astype(np.float32)


@pytest.mark.gpu
@pytest.mark.parametrize("on_gpu", ["tensorrt"], indirect=True)
@pytest.mark.usefixtures("on_gpu")
@pytest.mark.parametrize("shape", [(1, 1, 96, 112), (3, 1, 131, 97), (9, 1, 64, 64)])
def test_it_says_what_onnxruntime_says(exported, plans, shape):
    from lvseg_export.engines.tensorrt import TensorRtEngine

    engine = TensorRtEngine(exported[1], precision="fp32", plans=plans)
    reference = OnnxRuntimeEngine(exported[1], precision="fp32")
    for seed in range(4):  # call by call, captured, and twice launched again
        expected, found = reference.run(gamma(*shape, seed=seed)), engine.run(gamma(*shape, seed=seed))
        assert (found.mask.dtype, found.probability.dtype) == (np.uint8, np.float32)
        assert np.count_nonzero(found.mask != expected.mask) <= 1e-4 * expected.mask.size
        np.testing.assert_allclose(found.probability, expected.probability, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("on_gpu", ["tensorrt"], indirect=True)
@pytest.mark.usefixtures("on_gpu")
def test_a_captured_run_gives_what_the_calls_one_by_one_give(exported, plans):
    from lvseg_export.engines.tensorrt import TensorRtEngine

    engine = TensorRtEngine(exported[1], precision="fp32", plans=plans)
    one_by_one, captured, launched = (engine.run(gamma(2, 1, 96, 80)) for _ in range(3))
    (prepared,) = engine._shapes.values()
    assert prepared.graph is not None
    for other in (captured, launched):
        np.testing.assert_array_equal(other.probability, one_by_one.probability)


@pytest.mark.gpu
@pytest.mark.parametrize("on_gpu", ["tensorrt"], indirect=True)
@pytest.mark.usefixtures("on_gpu")
def test_each_part_of_a_run_takes_its_time_and_the_captured_run_stays_as_it_is(exported, plans):
    from lvseg_export.engines.tensorrt import TensorRtEngine

    engine = TensorRtEngine(exported[1], precision="fp32", plans=plans)
    before = [engine.run(gamma(2, 1, 96, 80)) for _ in range(3)][-1]
    started = time.perf_counter()
    split = engine.split_ms(gamma(2, 1, 96, 80))
    assert min(split) > 0
    assert sum(split) <= (time.perf_counter() - started) * 1e3
    np.testing.assert_array_equal(engine.run(gamma(2, 1, 96, 80)).probability, before.probability)


@pytest.mark.gpu
@pytest.mark.parametrize("on_gpu", ["tensorrt"], indirect=True)
@pytest.mark.usefixtures("on_gpu")
def test_a_kept_plan_is_loaded_and_a_foreign_one_left_alone(exported, plans, capsys):
    from lvseg_export.engines.tensorrt import TensorRtEngine

    TensorRtEngine(exported[1], precision="fp32", plans=plans)
    capsys.readouterr()
    TensorRtEngine(exported[1], precision="fp32", plans=plans)
    assert "building" not in capsys.readouterr().err
    for plan in plans.folder.glob("*.plan"):
        plan.write_bytes(b"of another machine")
    TensorRtEngine(exported[1], precision="fp32", plans=plans)
    assert "left as it is, another is built" in capsys.readouterr().err
