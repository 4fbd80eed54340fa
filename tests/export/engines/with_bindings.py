"""Tests that import the TensorRT engine, for a process that finds the bindings: ``test_tensorrt.py`` starts it.

CUDA's functions work on the host's memory here, and the network is a formula: what is tested is the engine's own
work, which is all that there is between the bindings and the caller.
"""

import ctypes
from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pytest
import tensorrt as trt
from cuda.bindings import runtime as cudart

from lvseg.errors import EngineError
from lvseg_export.engines import gpu, tensorrt, tensorrt_build
from lvseg_export.engines.plans import PlanOptions, Profile
from lvseg_export.engines.tensorrt import TensorRtEngine, lacking
from lvseg_export.engines.tensorrt_build import Log, build_plan, parser_errors

OK = cudart.cudaError_t.cudaSuccess
STREAM = 7


class HostCuda:
    """The CUDA runtime, but for the GPU: work is done when it is put in, or kept while it is captured.

    Its clock is moved by work alone: a copy to the GPU takes 1 ms, one back 100 ms.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.memory: dict[int, np.ndarray] = {}
        self.captured: list[Callable[[], None]] | None = None
        self.launches = 0
        self.now_ms = 0
        self.events: dict[int, int | None] = {}
        for name, function in {
            "cudaMalloc": self.allocate,
            "cudaMallocHost": self.allocate,
            "cudaFree": self.free,
            "cudaFreeHost": self.free,
            "cudaStreamCreateWithFlags": lambda _flags: (OK, STREAM),
            "cudaStreamDestroy": lambda _stream: (OK,),
            "cudaStreamSynchronize": lambda _stream: (OK,),
            "cudaMemcpyAsync": self.copy,
            "cudaStreamBeginCapture": self.begin,
            "cudaStreamEndCapture": self.end,
            "cudaGraphInstantiate": lambda graph, _flags: (OK, graph),
            "cudaGraphDestroy": lambda _graph: (OK,),
            "cudaGraphExecDestroy": lambda _graph: (OK,),
            "cudaGraphLaunch": self.launch,
            "cudaEventCreate": self.create_event,
            "cudaEventDestroy": self.destroy_event,
            "cudaEventRecord": self.record_event,
            "cudaEventElapsedTime": lambda start, end: (OK, float(self.events[end] - self.events[start])),
        }.items():
            assert hasattr(cudart, name)
            monkeypatch.setattr(cudart, name, function)

    def allocate(self, size: int):
        block = np.full(size, 0xAB, np.uint8)
        self.memory[block.ctypes.data] = block
        return OK, block.ctypes.data

    def free(self, address: int):
        del self.memory[address]
        return (OK,)

    def put(self, work: Callable[[], None]) -> None:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def copy(self, target: int, source: int, size: int, kind: object, stream: int):
        assert stream == STREAM
        takes_ms = {
            cudart.cudaMemcpyKind.cudaMemcpyHostToDevice: 1,
            cudart.cudaMemcpyKind.cudaMemcpyDeviceToHost: 100,
        }[kind]

        def copy() -> None:
            self.now_ms += takes_ms
            ctypes.memmove(target, source, size)

        self.put(copy)
        return (OK,)

    def create_event(self):
        self.events[event := max(self.events, default=0) + 1] = None
        return OK, event

    def destroy_event(self, event: int):
        del self.events[event]
        return (OK,)

    def record_event(self, event: int, stream: int):
        assert stream == STREAM
        self.events[event] = self.now_ms
        return (OK,)

    def begin(self, _stream: int, _mode: object):
        self.captured = []
        return (OK,)

    def end(self, _stream: int):
        graph, self.captured = self.captured, None
        return OK, graph

    def launch(self, graph: list[Callable[[], None]], _stream: int):
        self.launches += 1
        for work in graph:
            work()
        return (OK,)


def formula(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    probability = (pixels / (1 + pixels))[:, 0]
    return (probability > 0.5).astype(np.uint8), probability


class Context:
    def __init__(self, cuda: HostCuda) -> None:
        self.cuda, self.addresses = cuda, {}

    def set_device_memory(self, memory: int, size: int) -> None:
        assert len(self.cuda.memory[memory]) == size

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return name == "pixels"

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return True

    def get_tensor_shape(self, _name: str) -> trt.Dims:
        return trt.Dims((self.shape[0], *self.shape[2:]))

    def tensor(self, name: str, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
        block = self.cuda.memory[self.addresses[name]]
        return block[: int(np.prod(shape)) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == STREAM
        self.cuda.put(self.work)
        return True

    def work(self) -> None:
        self.cuda.now_ms += 10
        answer = (self.shape[0], *self.shape[2:])
        mask, probability = formula(self.tensor("pixels", np.float32, self.shape))
        self.tensor("mask", np.uint8, answer)[...] = mask
        self.tensor("probability", np.float32, answer)[...] = probability


class Plan:
    device_memory_size_v2 = 1000
    context = Context

    def __init__(self, cuda: HostCuda) -> None:
        self.cuda, self.contexts, self.tensors = cuda, 0, dict(tensorrt._TENSORS)

    @property
    def num_io_tensors(self) -> int:
        return len(self.tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_mode(self, name: str) -> trt.TensorIOMode:
        return self.tensors[name][0]

    def get_tensor_dtype(self, name: str) -> trt.DataType:
        return self.tensors[name][1]

    def create_execution_context(self, strategy: trt.ExecutionContextAllocationStrategy) -> Context:
        assert strategy == trt.ExecutionContextAllocationStrategy.USER_MANAGED
        self.contexts += 1
        return self.context(self.cuda)


@pytest.fixture
def cuda(monkeypatch):
    return HostCuda(monkeypatch)


@pytest.fixture
def plan(cuda):
    return Plan(cuda)


@pytest.fixture
def load(monkeypatch, plan, tmp_path):
    """Return what loads an engine; each plan that is built is the same."""
    (tmp_path / "model.onnx").write_bytes(b"a graph")
    built = []

    class Runtime:
        def __init__(self, logger: trt.ILogger) -> None:
            assert isinstance(logger, trt.ILogger)

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> Plan | None:
            return plan if serialized_engine == b"plan" else None

    def build(*arguments: object, **options: object) -> bytes:
        built.append(options)
        return b"plan"

    monkeypatch.setattr(trt, "Runtime", Runtime)
    monkeypatch.setattr(tensorrt, "build_plan", build)
    monkeypatch.setattr(tensorrt, "compute_capability", lambda: (9, 0))

    def load(**profile: int) -> TensorRtEngine:
        plans = PlanOptions(profile=Profile(**profile), folder=tmp_path / "plans")
        return TensorRtEngine(tmp_path / "model.onnx", precision="fp32", plans=plans)

    load.built = built
    return load


def gamma(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2, 1, shape).astype(np.float32)


def check(engine: TensorRtEngine, pixels: np.ndarray) -> None:
    found, (mask, probability) = engine.run(pixels), formula(pixels)
    np.testing.assert_array_equal(found.mask, mask)
    np.testing.assert_array_equal(found.probability, probability)
    assert (found.mask.dtype, found.probability.dtype) == (np.uint8, np.float32)


def test_every_run_of_a_shape_gives_its_own_answer(load, cuda, plan):
    engine = load()
    for seed, launches in ((1, 0), (2, 1), (3, 2)):  # call by call, captured, launched again
        check(engine, gamma(2, 1, 40, 50, seed=seed))
        assert cuda.launches == launches
    assert plan.contexts == 1


def test_shapes_take_turns(load, plan):
    engine = load()
    for seed in range(3):
        for shape in ((1, 1, 32, 32), (4, 1, 32, 32), (1, 1, 33, 47)):
            check(engine, gamma(*shape, seed=seed))
    assert plan.contexts == 3


def test_the_shape_that_was_not_run_for_longest_makes_room(load, plan, monkeypatch):
    monkeypatch.setattr(tensorrt, "_SHAPES_KEPT", 2)
    engine = load()
    for side in (32, 33, 32, 34, 32, 33):
        check(engine, gamma(1, 1, side, 40))
    assert list(engine._shapes) == [(1, 1, 32, 40), (1, 1, 33, 40)]
    assert plan.contexts == 4


def test_a_batch_larger_than_the_plan_takes_is_run_in_parts(load, plan):
    engine = load(batch_max=4)
    check(engine, gamma(10, 1, 40, 50))
    assert list(engine._shapes) == [(4, 1, 40, 50), (2, 1, 40, 50)]


def test_the_largest_shape_fits(load):
    check(load(batch_max=2, side_opt=64, side_max=64), gamma(2, 1, 64, 64))


def test_an_answer_stays_when_the_next_is_given(load):
    engine = load()
    answer = engine.run(gamma(1, 1, 40, 40, seed=1))
    before = answer.probability.copy(), answer.mask.copy()
    engine.run(gamma(1, 1, 40, 40, seed=2))
    np.testing.assert_array_equal(answer.probability, before[0])
    np.testing.assert_array_equal(answer.mask, before[1])


def test_pixels_that_are_no_block_of_memory_are_taken(load):
    check(load(), gamma(2, 1, 40, 100)[..., ::2])


def test_what_the_plan_does_not_take_is_refused(load):
    engine = load()
    with pytest.raises(EngineError, match="raise --side-max"):
        engine.run(gamma(1, 1, 40, 600))
    with pytest.raises(EngineError, match="expected float32 pixels of shape"):
        engine.run(gamma(40, 40))


@pytest.mark.parametrize("runs_before", [0, 1, 2, 3])  # never, call by call, captured, launched
def test_a_split_is_of_the_three_parts_by_the_gpus_clock_without_the_graph(load, cuda, runs_before):
    engine = load()
    for seed in range(runs_before):
        check(engine, gamma(2, 1, 40, 50, seed=seed))
    launches = cuda.launches
    assert engine.split_ms(gamma(2, 1, 40, 50)) == (1, 10, 200)  # two tensors come back
    assert cuda.launches == launches
    assert not cuda.events
    for seed in range(4, 7):
        check(engine, gamma(2, 1, 40, 50, seed=seed))
    assert cuda.launches > launches


def test_a_split_of_a_batch_larger_than_the_plan_takes_is_of_all_parts_together(load):
    engine = load(batch_max=4)
    assert engine.split_ms(gamma(10, 1, 40, 50)) == (3, 30, 600)
    assert list(engine._shapes) == [(4, 1, 40, 50), (2, 1, 40, 50)]


def test_a_split_refuses_what_a_run_refuses(load):
    with pytest.raises(EngineError, match="raise --side-max"):
        load().split_ms(gamma(1, 1, 40, 600))


def test_all_memory_is_given_back(load, cuda):
    engine = load()
    for _ in range(2):
        check(engine, gamma(1, 1, 40, 40))
    assert cuda.memory
    del engine
    assert not cuda.memory


def test_the_plan_is_built_without_tf32_and_once(load, tmp_path):
    for _ in range(2):
        load()
    assert len(load.built) == 1
    assert load.built[0]["tf32"] is False
    (path,) = (tmp_path / "plans").glob("*.plan")
    assert f"-trt{trt.__version__}-sm90-b1-16-s256-512-no-tf32" in path.name


def test_a_call_of_cuda_that_fails_is_named(load, cuda, monkeypatch):
    engine = load()

    def fail(*_: object):
        return (cudart.cudaError_t.cudaErrorLaunchFailure,)

    fail.__name__ = "cudaStreamSynchronize"
    with monkeypatch.context() as patched:
        patched.setattr(cudart, "cudaStreamSynchronize", fail)
        with pytest.raises(EngineError, match=r"^cudaStreamSynchronize gives cudaErrorLaunchFailure$"):
            engine.run(gamma(1, 1, 40, 40))
    check(engine, gamma(1, 1, 40, 40))


def test_a_network_that_fails_says_what_tensorrt_said(load, plan):
    engine = load()

    class Failing(Context):
        def execute_async_v3(self, stream_handle: int) -> bool:  # noqa: ARG002
            engine._log.log(trt.ILogger.Severity.ERROR, "out of\nmemory")
            return False

    plan.context = Failing
    with pytest.raises(
        EngineError, match=r"TensorRT failed on a batch of shape \(1, 1, 40, 40\): out of memory"
    ):
        engine.run(gamma(1, 1, 40, 40))


def test_a_failure_while_capturing_ends_the_capture(load, cuda, plan):
    engine = load()
    check(engine, gamma(1, 1, 40, 40))
    (prepared,) = engine._shapes.values()
    prepared.context.execute_async_v3 = lambda _stream: False
    with pytest.raises(EngineError, match="it does not say why"):
        engine.run(gamma(1, 1, 40, 40))
    assert cuda.captured is None
    check(engine, gamma(1, 1, 40, 40))


def test_an_answer_of_another_shape_is_refused(load, plan):
    class Transposing(Context):
        def get_tensor_shape(self, _name: str) -> trt.Dims:
            return trt.Dims((self.shape[0], *self.shape[:1:-1]))

    plan.context = Transposing
    with pytest.raises(EngineError, match=r"the mask of \(1, 1, 40, 50\) has shape \(1, 50, 40\)"):
        load().run(gamma(1, 1, 40, 50))


def test_a_plan_of_another_contract_is_refused(load, plan):
    plan.tensors = {"x": (trt.TensorIOMode.INPUT, trt.DataType.FLOAT)}
    with pytest.raises(EngineError, match=r"inputs and outputs are .*'x'.* expected .*pixels"):
        load()


class Refusal:
    """What a parser says of one node."""

    def __init__(self, desc: str, node: int) -> None:
        self.desc = lambda: desc
        self.code = lambda: trt.ErrorCode.UNSUPPORTED_NODE
        self.node = lambda: node
        self.node_name = lambda: f"node_{node}"
        self.node_operator = lambda: "Resize"


def test_a_parser_tells_of_every_error():
    errors = [Refusal("no such\nmode", 3), Refusal("no such type", 5)]
    parser = SimpleNamespace(num_errors=2, get_error=errors.__getitem__)
    assert all(hasattr(trt.ParserError, name) for name in vars(errors[0]))
    assert parser_errors(parser) == (
        "[1] no such mode (UNSUPPORTED_NODE, node 3 'node_3', Resize); "
        "[2] no such type (UNSUPPORTED_NODE, node 5 'node_5', Resize)"
    )


def test_a_log_keeps_errors_and_gives_each_once():
    log = Log()
    log.log(trt.ILogger.Severity.WARNING, "slow")
    log.log(trt.ILogger.Severity.INTERNAL_ERROR, "broken")
    log.log(trt.ILogger.Severity.ERROR, "no\n memory")
    assert log.reason() == "broken; no memory"
    assert log.reason() == "it does not say why"


def test_a_tensorrt_that_cannot_start_says_so(tmp_path):
    # The bindings of this process have no libraries behind them, as where there is no driver.
    with pytest.raises(EngineError, match=rf"TensorRT {trt.__version__} cannot start: it does not say why"):
        build_plan(tmp_path / "m.onnx", Profile(), tf32=False, timings=tmp_path / "t", log=Log())


def test_memory_without_a_gpu_names_the_call_and_the_status():
    with pytest.raises(EngineError, match=r"cudaMalloc gives cudaError(NoDevice|InsufficientDriver)"):
        tensorrt.DeviceMemory(1)


def test_a_machine_without_a_driver_says_so(monkeypatch):
    monkeypatch.setattr(gpu, "_DRIVER", "libnone.so.1")
    assert lacking("fp32").startswith("no NVIDIA GPU: libnone.so.1 cannot be loaded")


@pytest.mark.parametrize(("capability", "lacks"), [((7, 5), "this GPU has no bf16"), ((8, 0), "")])
def test_bf16_needs_a_gpu_that_has_it(monkeypatch, capability, lacks):
    monkeypatch.setattr(tensorrt, "compute_capability", lambda: capability)
    assert lacking("bf16") == lacks
    assert lacking("fp16") == ""


def test_a_tensorrt_that_is_too_old_names_the_command(monkeypatch):
    monkeypatch.setattr(trt, "__version__", "10.9.0.34")
    assert lacking("fp32") == (
        "TensorRT 10.9.0.34 is too old, expected 10.16 or later; run: pip install -U 'lvseg[tensorrt]'"
    )


class Builder:
    """Notes what is asked of the builder; one class for all that it makes."""

    def __init__(self, parses: bool = True, same_machine: bool = True, plan: bytes | None = b"plan") -> None:
        self.parses, self.same_machine, self.plan = parses, same_machine, plan
        self.flags: set[trt.BuilderFlag] = {trt.BuilderFlag.TF32}  # TensorRT's own default
        self.shapes, self.network_flags, self.former = [], None, None

    def create_network(self, flags: int) -> "Builder":
        self.network_flags = flags
        return self

    def create_builder_config(self) -> "Builder":
        return self

    create_optimization_profile = create_builder_config

    def set_shape(self, name: str, *shapes: trt.Dims) -> None:
        self.shapes += [name, *(tuple(shape) for shape in shapes)]

    def add_optimization_profile(self, profile: "Builder") -> int:
        return 0 if profile is self else -1

    def clear_flag(self, flag: trt.BuilderFlag) -> None:
        self.flags.discard(flag)

    def set_flag(self, flag: trt.BuilderFlag) -> None:
        self.flags.add(flag)

    def create_timing_cache(self, former: bytes) -> bytes:
        return former

    def set_timing_cache(self, cache: bytes, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False
        self.former = cache
        return self.same_machine or not cache

    def get_timing_cache(self) -> SimpleNamespace:
        return SimpleNamespace(serialize=lambda: b"timings")

    def build_serialized_network(self, network: "Builder", config: "Builder") -> bytes | None:
        return self.plan if network is config is self else None

    def parse(self, model: bytes) -> bool:
        assert model == b"a graph"
        return self.parses

    num_errors = 1

    def get_error(self, index: int) -> Refusal:
        return Refusal("unknown", index)


@pytest.fixture
def build(monkeypatch, tmp_path):
    (tmp_path / "model.onnx").write_bytes(b"a graph")
    (tmp_path / "timings").write_bytes(b"former")

    def build(builder: Builder, *, tf32: bool = False) -> bytes:
        monkeypatch.setattr(trt, "Builder", lambda _log: builder)
        monkeypatch.setattr(trt, "OnnxParser", lambda network, _log: network)
        options = {"tf32": tf32, "timings": tmp_path / "timings", "log": Log()}
        return build_plan(tmp_path / "model.onnx", Profile(batch_opt=2), **options)

    return build


def test_a_plan_is_built_in_the_types_of_the_graph_without_tf32(build, tmp_path):
    builder = Builder()
    assert build(builder) == b"plan"
    assert builder.network_flags == 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    assert builder.flags == set()
    assert builder.shapes == ["pixels", (1, 1, 32, 32), (2, 1, 256, 256), (16, 1, 512, 512)]
    assert (builder.former, (tmp_path / "timings").read_bytes()) == (b"former", b"timings")


def test_tf32_is_for_those_who_ask(build):
    builder = Builder()
    build(builder, tf32=True)
    assert builder.flags == {trt.BuilderFlag.TF32}


def test_timings_of_another_machine_are_left_alone(build, tmp_path, capsys):
    builder = Builder(same_machine=False)
    build(builder)
    assert (builder.former, (tmp_path / "timings").read_bytes()) == (b"", b"former")
    assert "holds the timings of another machine: it is left as it is" in capsys.readouterr().err


def test_a_graph_that_is_refused_names_the_node(build):
    with pytest.raises(
        EngineError, match=r"model\.onnx: TensorRT .* cannot read it: \[1\] unknown \(UNSUPPORTED_NODE"
    ):
        build(Builder(parses=False))


def test_a_plan_that_cannot_be_built_says_so(build):
    with pytest.raises(
        EngineError, match=r"model\.onnx: TensorRT .* cannot build a plan: it does not say why"
    ):
        build(Builder(plan=None))


def test_the_modules_are_those_of_the_bindings():
    assert tensorrt.trt is tensorrt_build.trt is trt


def test_the_numbers_of_the_drivers_attributes_are_cudas():
    attributes = cudart.cudaDeviceAttr
    assert attributes.cudaDevAttrComputeCapabilityMajor.value == gpu._CAPABILITY_MAJOR
    assert attributes.cudaDevAttrComputeCapabilityMinor.value == gpu._CAPABILITY_MINOR
