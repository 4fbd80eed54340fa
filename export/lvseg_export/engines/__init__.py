"""The engines that run a bundle. Each is imported only when it is asked for."""

from lvseg.errors import EngineError, OptionError
from lvseg_export.bundle import Bundle
from lvseg_export.engines.base import Engine, Prediction
from lvseg_export.parity import check_reference

__all__ = ["RUNTIMES", "Engine", "Prediction", "load_engine"]

RUNTIMES = ("auto", "onnxruntime")


def load_engine(bundle: Bundle, runtime: str = "auto", *, threads: int | None = None) -> Engine:
    """Load a bundle's model on a runtime, and hold it to the bundle's reference before it may answer anybody.

    Args:
        bundle: A checked bundle.
        runtime: One of :data:`RUNTIMES`; ``"auto"`` takes the fastest that this machine can run.
        threads: CPU threads for one run; by default those that this process may use.

    Raises:
        OptionError: If there is no such runtime, or it is not installed.
        EngineError: If the runtime cannot load the model, or does not say what the trained model says.
    """
    if runtime not in RUNTIMES:
        raise OptionError(
            f"no engine {runtime!r}; known: {', '.join(RUNTIMES)}", reason="UNKNOWN_ENGINE", field="--engine"
        )
    try:
        from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
    except ModuleNotFoundError as error:
        raise OptionError(
            f"{error.name} is not installed; run: pip install 'lvseg[serve]'",
            reason="MISSING_EXTRA",
            field="--engine",
        ) from error
    for engine in bundle.manifest.engines:
        if engine.runtime == "onnx" and engine.precision == "fp32":
            loaded = OnnxRuntimeEngine(bundle.path(engine.file), precision=engine.precision, threads=threads)
            check_reference(loaded, bundle)
            return loaded
    raise EngineError(f"{bundle.folder} holds no fp32 ONNX file for ONNX Runtime; export the run again")
