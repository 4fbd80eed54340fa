"""From an ONNX file to a TensorRT plan."""

from pathlib import Path
from typing import Any

import tensorrt as trt

from lvseg.cli import notice
from lvseg.errors import EngineError
from lvseg.whole_files import whole_file
from lvseg_export.engines.plans import Profile


class Log(trt.ILogger):  # type: ignore[misc] # TensorRT has no types
    """Keeps what TensorRT says of a failure: its calls themselves give no reason."""

    def __init__(self) -> None:
        super().__init__()
        self._errors: list[str] = []

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Take a message, as TensorRT calls it: from any thread."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self._errors.append(" ".join(msg.split()))

    def reason(self) -> str:
        """Return the errors since the last call, in one line."""
        said, self._errors = self._errors, []
        return "; ".join(said) or "it does not say why"


def build_plan(path: Path, profile: Profile, *, tf32: bool, timings: Path, log: Log) -> bytes:
    """Build a plan for this machine's GPU, in the types that the graph has.

    Args:
        path: The ONNX file.
        profile: The shapes that the plan shall take.
        tf32: Whether float32 convolutions may round their inputs to TF32's ten bits.
        timings: File for what was measured of kernels, which need not be measured again on this machine; one of
            another machine is left as it is.
        log: The logger.

    Raises:
        EngineError: If TensorRT cannot start, read the file or build; the message has TensorRT's reasons.
        OSError: If ``timings`` cannot be read or written.
    """
    try:
        builder = trt.Builder(log)
    except TypeError as error:  # what the bindings make of a null pointer
        raise EngineError(f"TensorRT {trt.__version__} cannot start: {log.reason()}") from error
    # Strongly typed: precision is a property of the graph. From TensorRT 11 on there is no other network.
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    if not parser.parse(path.read_bytes()):
        raise EngineError(f"{path}: TensorRT {trt.__version__} cannot read it: {parser_errors(parser)}")
    config = builder.create_builder_config()
    if tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    shapes = builder.create_optimization_profile()
    shapes.set_shape(
        "pixels", trt.Dims(profile.smallest), trt.Dims(profile.fastest), trt.Dims(profile.largest)
    )
    config.add_optimization_profile(shapes)
    kept = _load_timings(config, timings)
    notice(f"building a TensorRT plan of {path.name}, once for this machine: it may take minutes")
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(f"{path}: TensorRT {trt.__version__} cannot build a plan: {log.reason()}")
    if kept:
        with whole_file(timings) as stream:
            stream.write(_bytes(config.get_timing_cache().serialize()))
    return _bytes(plan)


def parser_errors(parser: trt.OnnxParser) -> str:
    """Return what a parser says of a graph that it refused, error by error, in one line."""
    said = []
    for index in range(parser.num_errors):
        error: trt.ParserError = parser.get_error(index)
        said.append(
            f"[{index + 1}] {' '.join(error.desc().split())} ({error.code().name}, node {error.node()} "
            f"{error.node_name()!r}, {error.node_operator()})"
        )
    return "; ".join(said) or "it does not say why"


def _load_timings(config: trt.IBuilderConfig, path: Path) -> bool:
    """Let a build use what former ones measured, and return whether the file is to be written again."""
    former = path.read_bytes() if path.exists() else b""
    if config.set_timing_cache(config.create_timing_cache(former), False):
        return True
    notice(f"{path} holds the timings of another machine: it is left as it is, the build takes longer")
    config.set_timing_cache(config.create_timing_cache(b""), False)
    return False


def _bytes(memory: Any) -> bytes:
    """Return the content of TensorRT's host memory, which Python's buffer protocol gives."""
    return bytes(memory)
