"""Engines, loaded and made ready to be measured."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from lvseg.errors import EngineError
from lvseg_export.bundle import Bundle
from lvseg_export.engines.base import Engine, SplitsTime
from lvseg_export.gate import check_reference
from lvseg_serve.bench.known import Known
from lvseg_serve.bench.rounds import Callee
from lvseg_serve.bench.rows import Failure, Subject, none_measured
from lvseg_serve.bench.slice import Stack
from lvseg_serve.bench.sources import Source


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """An engine that passed the gate."""

    engine: Engine
    source: Source
    load_ms: float
    first_ms: Sequence[float]
    """First run of each stack, before the engine had run anything else."""


def load_engines(
    sources: Sequence[Source],
    stacks: Sequence[Stack],
    bundle: Bundle,
    threads: int | None,
    *,
    advance: Callable[[], object] = lambda: None,
) -> tuple[list[Loaded], list[Failure]]:
    """Load each engine once, take the time of that and of each stack's first run, and hold it to the bundle.

    Those that fail are told, not measured.

    Args:
        sources: What to load.
        stacks: What will be measured.
        bundle: Whose reference an engine is held to.
        threads: CPU threads for one run; by default those that this process may use.
        advance: Called after every engine, for a progress display.

    Raises:
        EngineError: If none can be measured; the message tells each one's reason.
    """
    loaded, failures = [], []
    for source in sources:
        source.import_library()
        started = time.perf_counter()
        try:
            engine = source.load(threads)
            load_ms = _since_ms(started)
            first_ms = [_first_ms(engine, stack) for stack in stacks]
            check_reference(engine, bundle)
        except EngineError as error:
            failures.append(Failure(engine=source.name, precision=source.precision, reason=str(error)))
        else:
            loaded.append(Loaded(engine=engine, source=source, load_ms=load_ms, first_ms=first_ms))
        advance()
    if not loaded:
        raise none_measured(failures)
    return loaded, failures


def engine_callees(engines: Sequence[Loaded], stacks: Sequence[Stack], known: Known) -> Iterator[Callee]:
    """Give each engine with each stack, one after the other."""
    for loaded in engines:
        engine = loaded.engine
        dice, peak = known.dice(engine), known.peak_gflop_per_s(engine)
        for stack, first_ms in zip(stacks, loaded.first_ms, strict=True):
            subject = Subject(
                engine=engine.name,
                precision=engine.precision,
                batch=len(stack),
                threads=engine.threads,
                load_ms=loaded.load_ms,
                first_ms=first_ms,
                dice=dice,
                gflop=None if known.gflop is None else known.gflop * len(stack),
                peak_gflop_per_s=peak,
                memory_mib=known.memory_mib(loaded.source, engine, stack),
            )
            split = partial(engine.split_ms, stack) if isinstance(engine, SplitsTime) else None
            yield Callee(subject, partial(_run, engine, stack), split)


def _first_ms(engine: Engine, stack: Stack) -> float:
    started = time.perf_counter()
    engine.run(stack)
    return _since_ms(started)


def _run(engine: Engine, stack: Stack) -> None:
    engine.run(stack)


def _since_ms(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
