"""Which engine runs a bundle here: the one asked for, or the fastest of those that this machine can run."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from lvseg.errors import EngineError, OptionError, missing_extra
from lvseg_export.bundle import Bundle, EngineFile
from lvseg_export.engines.base import Engine
from lvseg_export.engines.plans import PlanOptions
from lvseg_export.gate import check_reference

AUTO = "auto"
_TIMED_RUNS = 3
_BROKEN_IMPORT = (ImportError, OSError, RuntimeError)
"""What importing a library can raise whose own libraries do not fit."""


def _onnxruntime(path: Path, precision: str, threads: int | None, _plans: PlanOptions) -> Engine:
    from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine

    return OnnxRuntimeEngine(path, precision=precision, threads=threads)


def _onnxruntime_cuda(path: Path, precision: str, _threads: int | None, _plans: PlanOptions) -> Engine:
    from lvseg_export.engines.onnxruntime_cuda import OnnxRuntimeCudaEngine

    return OnnxRuntimeCudaEngine(path, precision=precision)


def _openvino(path: Path, precision: str, threads: int | None, _plans: PlanOptions) -> Engine:
    from lvseg_export.engines.openvino import OpenVinoEngine

    return OpenVinoEngine(path, precision=precision, threads=threads)


def _tensorrt(path: Path, precision: str, _threads: int | None, plans: PlanOptions) -> Engine:
    from lvseg_export.engines.tensorrt import TensorRtEngine

    return TensorRtEngine(path, precision=precision, plans=plans)


def _lacking(engine: str) -> Callable[[str], str]:
    """Return the function ``lacking`` of an engine's module, which is imported when it is called."""

    def lacks(precision: str) -> str:
        lacking: Callable[[str], str] = import_module(f"lvseg_export.engines.{engine}").lacking
        return lacking(precision)

    return lacks


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """A library that runs a bundle's files."""

    name: str
    module: str
    extra: str
    """Of lvseg: what installs it."""
    precisions: Mapping[str, str]
    """What it computes in, and the precision of the file that it takes for that."""
    engine: Callable[[Path, str, int | None, PlanOptions], Engine]
    """From a file, a precision, the number of threads and TensorRT's options: what :meth:`load` calls."""
    lacking: Callable[[str], str] = lambda _precision: ""
    """What :meth:`lacks` calls."""

    @property
    def installed(self) -> bool:
        """Whether its library is here."""
        return find_spec(self.module) is not None

    def missing(self, *, field: str = "--engine") -> OptionError:
        """Return the error of asking for it, by the option that is named, where its library is not here."""
        return missing_extra(self.module, self.extra, field=field)

    def lacks(self, precision: str) -> str:
        """Return what this machine lacks to compute in a precision with it, and what to do; empty for nothing.

        Raises:
            EngineError: If its library is installed and broken.
        """
        try:
            return self.lacking(precision)
        except ModuleNotFoundError as error:
            return str(missing_extra(error.name, self.extra))
        except _BROKEN_IMPORT as error:
            raise self._broken(error) from error

    def require(self, precisions: Sequence[str], *, field: str) -> None:
        """Check that this machine can compute with it in all of these precisions.

        Args:
            precisions: What it shall compute in.
            field: The option that asks for it.

        Raises:
            OptionError: If its library is not installed, or this machine lacks something; the message says what to do.
            EngineError: If its library is installed and broken.
        """
        if not self.installed:
            raise self.missing(field=field)
        # Mostly it lacks the same for all.
        lacks = dict.fromkeys(why for precision in precisions if (why := self.lacks(precision)))
        if lacks:
            message = f"{self.name}: {'; '.join(lacks)}"
            raise OptionError(message, reason="ENGINE_UNAVAILABLE", field=field)

    def load(
        self, path: Path, precision: str, threads: int | None = None, plans: PlanOptions | None = None
    ) -> Engine:
        """Load a file to be run in a precision.

        Raises:
            EngineError: If the runtime cannot, or its library cannot be imported.
        """
        try:
            return self.engine(path, precision, threads, plans or PlanOptions())
        except _BROKEN_IMPORT as error:
            raise self._broken(error) from error

    def _broken(self, error: Exception) -> EngineError:
        return EngineError(f"{self.module} is installed and cannot be imported: {error}")


RUNTIMES: Mapping[str, Runtime] = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            name="onnxruntime",
            module="onnxruntime",
            extra="serve",
            precisions={"fp32": "fp32", "fp16": "fp16", "int8": "int8"},
            engine=_onnxruntime,
            lacking=_lacking("onnxruntime"),
        ),
        Runtime(
            name="onnxruntime-cuda",
            module="onnxruntime",
            extra="gpu",
            precisions={"fp32": "fp32", "fp16": "fp16"},
            engine=_onnxruntime_cuda,
            lacking=_lacking("onnxruntime_cuda"),
        ),
        Runtime(
            name="openvino",
            module="openvino",
            extra="openvino",
            precisions={"fp32": "fp32", "bf16": "fp32", "fp16": "fp16", "int8": "int8"},
            engine=_openvino,
            lacking=_lacking("openvino"),
        ),
        Runtime(
            name="tensorrt",
            module="tensorrt",
            extra="tensorrt",
            precisions={"fp32": "fp32", "fp16": "fp16", "bf16": "bf16", "int8": "int8"},
            engine=_tensorrt,
            lacking=_lacking("tensorrt"),
        ),
    )
}
PRECISIONS = ("fp32", "fp16", "bf16", "int8")


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One file of a bundle on one runtime, in one precision."""

    runtime: Runtime
    precision: str
    path: Path

    def load(self, threads: int | None, plans: PlanOptions | None = None) -> Engine:
        """Load it, as :meth:`Runtime.load` does."""
        return self.runtime.load(self.path, self.precision, threads, plans)

    def lacks(self) -> str:
        """Return what this machine lacks for it; of a broken library nothing, since loading it tells why."""
        try:
            return self.runtime.lacks(self.precision)
        except EngineError:
            return ""

    def __str__(self) -> str:
        return f"{self.runtime.name} {self.precision}"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An engine that passed the gate."""

    engine: Engine
    candidate: Candidate
    why: str
    """For people: what it was chosen from, and by what; empty where there was nothing to choose from."""


def load_engine(
    bundle: Bundle,
    runtime: str = AUTO,
    precision: str = AUTO,
    *,
    threads: int | None = None,
    plans: PlanOptions | None = None,
) -> Engine:
    """Load a bundle's model on the engine that :func:`choose_engine` takes."""
    return choose_engine(bundle, runtime, precision, threads=threads, plans=plans).engine


def choose_engine(
    bundle: Bundle,
    runtime: str = AUTO,
    precision: str = AUTO,
    *,
    threads: int | None = None,
    plans: PlanOptions | None = None,
) -> Choice:
    """Load a bundle's model, and hold it to the bundle's reference before it may answer anybody.

    Of several candidates the fastest on this machine is taken, by the time that each needs for a slice of
    the bundle's reference; one that cannot be loaded, or fails the gate, makes room for the next.

    Args:
        bundle: A checked bundle.
        runtime: One of :data:`RUNTIMES`, or ``"auto"`` for whichever this machine can run.
        precision: One of :data:`PRECISIONS`, or ``"auto"`` for whichever the bundle has files for; what no file
            was examined in at export, such as bf16, has to be asked for.
        threads: CPU threads for one run; by default those that this process may use.
        plans: For TensorRT: what its plans are built for, and where they are kept.

    Raises:
        OptionError: If there is no such runtime or precision, or it is not installed, or this machine lacks
            something for it, or the bundle holds no file for it.
        EngineError: If no candidate can load the model and says what the trained model says; the message
            tells each one's reason.
    """
    candidates = find_candidates(bundle, runtime, precision)
    if len(candidates) == 1:
        engine = candidates[0].load(threads, plans)
        check_reference(engine, bundle)
        return Choice(engine=engine, candidate=candidates[0], why="")
    timed, reasons = _time_each(candidates, bundle, threads, plans)
    for milliseconds, candidate, engine in timed:
        try:
            check_reference(engine, bundle)
        except EngineError as error:
            reasons.append(f"{candidate}: {error}")
            continue
        others = [f"{other} {needed:.1f} ms" for needed, other, _ in timed if other is not candidate]
        why = f"{candidate}: {milliseconds:.1f} ms a slice; {', '.join((*others, *reasons))}"
        return Choice(engine=engine, candidate=candidate, why=why)
    raise EngineError(f"no engine can run {bundle.folder}: {'; '.join(reasons)}")


def find_candidates(
    bundle: Bundle, runtime: str = AUTO, precision: str = AUTO, *, unexamined: bool = False
) -> list[Candidate]:
    """Return what of a bundle can be tried on this machine, at least one.

    Args:
        bundle: A checked bundle.
        runtime: As for :func:`choose_engine`.
        precision: Likewise.
        unexamined: Whether ``"auto"`` also means what no file was examined in at export, such as bf16.

    Raises:
        OptionError: As :func:`choose_engine`.
    """
    runtimes = _runtimes(runtime)
    if precision not in (AUTO, *PRECISIONS):
        raise _unknown("precision", precision, (AUTO, *PRECISIONS))
    files = {file.precision: file for file in bundle.manifest.engines if file.runtime == "onnx"}
    found = [
        Candidate(runtime=each, precision=computed, path=bundle.path(files[stored].file))
        for each in runtimes
        for computed, stored in each.precisions.items()
        if stored in files
        and precision in (AUTO, computed)
        and (unexamined or precision != AUTO or (computed == stored and files[stored].examined))
    ]
    if not found:
        raise _nothing_for(precision, runtimes, bundle)
    lacks = [(candidate, candidate.lacks()) for candidate in found]
    usable = [candidate for candidate, why in lacks if not why]
    if not usable:
        # A runtime mostly lacks the same for all that it computes in.
        reasons = dict.fromkeys(f"{candidate.runtime.name}: {why}" for candidate, why in lacks)
        raise OptionError("; ".join(reasons), reason="ENGINE_UNAVAILABLE", field="--engine")
    return usable


def _runtimes(name: str) -> Sequence[Runtime]:
    if name == AUTO:
        installed = [runtime for runtime in RUNTIMES.values() if runtime.installed]
        if not installed:
            raise RUNTIMES["onnxruntime"].missing()
        return installed
    if name not in RUNTIMES:
        raise _unknown("engine", name, (AUTO, *RUNTIMES))
    if not RUNTIMES[name].installed:
        raise RUNTIMES[name].missing()
    return [RUNTIMES[name]]


def _time_each(
    candidates: Sequence[Candidate], bundle: Bundle, threads: int | None, plans: PlanOptions | None
) -> tuple[list[tuple[float, Candidate, Engine]], list[str]]:
    """Return the candidates that run, fastest first, and why the others do not."""
    pixels = bundle.reference.pixels[:1]
    timed, reasons = [], []
    for candidate in candidates:
        try:
            engine = candidate.load(threads, plans)
            engine.run(pixels)  # the first run of a shape prepares the others
            times = [_time_ms(engine, pixels) for _ in range(_TIMED_RUNS)]
        except EngineError as error:
            reasons.append(f"{candidate}: {error}")
        else:
            timed.append((min(times), candidate, engine))
    return sorted(timed, key=lambda one: one[0]), reasons


def _time_ms(engine: Engine, pixels: np.ndarray) -> float:
    started = time.perf_counter()
    engine.run(pixels)
    return (time.perf_counter() - started) * 1e3


def _nothing_for(precision: str, runtimes: Sequence[Runtime], bundle: Bundle) -> OptionError:
    names = " or ".join(runtime.name for runtime in runtimes)
    if any(precision in runtime.precisions for runtime in runtimes):
        message = (
            f"{bundle.folder} holds {_list(bundle.manifest.engines)}: nothing that {names} could run in {precision}; "
            f"export it with --precision {precision}, or take another --engine"
        )
    else:
        able = " or ".join(name for name, runtime in RUNTIMES.items() if precision in runtime.precisions)
        message = f"{names} does not compute in {precision}; take --engine {able}, or another --precision"
    return OptionError(message, reason="NO_SUCH_PRECISION", field="--precision")


def _unknown(what: str, name: str, known: Sequence[str]) -> OptionError:
    return OptionError(
        f"no {what} {name!r}; known: {', '.join(known)}",
        reason=f"UNKNOWN_{what.upper()}",
        field=f"--{what}",
    )


def _list(engines: Sequence[EngineFile]) -> str:
    return ", ".join(engine.file for engine in engines)
