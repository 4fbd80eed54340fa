"""Where engines come from: a bundle's files, or the run that the bundle was exported from."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lvseg_export.bundle import Bundle, load_bundle
from lvseg_export.choice import AUTO, Candidate, choose_engine, find_candidates
from lvseg_export.engines.base import Engine

if TYPE_CHECKING:  # which imports torch
    from lvseg_export.engines.torch import Device

ALL = "all"
"""Of engines: each that the machine and the bundle allow, not the fastest alone."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """An engine that can be loaded, here and in another process."""

    name: str
    """Of the runtime, for messages."""
    precision: str
    library: str
    """Python module of the runtime."""
    load: Callable[[int | None], Engine]
    """From the number of threads."""
    words: tuple[str, ...]
    """What :func:`find_source` finds it by."""

    def import_library(self) -> None:
        """Import the runtime, so that loading an engine is not charged with it."""
        with suppress(ImportError, OSError):  # loading the engine tells
            import_module(self.library)


def bundle_sources(bundle: Bundle, runtime: str, precision: str, threads: int | None) -> Sequence[Source]:
    """Return the engine that is asked for, or with :data:`ALL` each that there is.

    Raises:
        OptionError: As :func:`lvseg_export.choice.choose_engine`.
        EngineError: Likewise, where there are several to choose from.
    """
    if runtime == ALL:
        return [
            _of_candidate(bundle, candidate)
            for candidate in find_candidates(bundle, AUTO, precision, unexamined=True)
        ]
    candidates = find_candidates(bundle, runtime, precision)
    if len(candidates) > 1:
        candidates = [choose_engine(bundle, runtime, precision, threads=threads).candidate]
    return [_of_candidate(bundle, candidate) for candidate in candidates]


def run_source(run: Path, *, compiled: bool, device: "Device") -> Source:
    """Return a run's model in PyTorch.

    Args:
        run: The run folder.
        compiled: Whether PyTorch shall compile it first.
        device: Where it runs.
    """
    return Source(
        name="torch.compile" if compiled else "torch",
        precision="fp32",
        library="torch._dynamo" if compiled else "torch",
        load=partial(_load_run, run, compiled=compiled, device=device),
        words=("run", str(run), "compiled" if compiled else "as it is", device),
    )


def find_source(words: Sequence[str]) -> Source:
    """Return the source of which another process knows the words."""
    if words[0] == "run":
        return run_source(
            Path(words[1]), compiled=words[2] == "compiled", device="cuda" if words[3] == "cuda" else "cpu"
        )
    _, folder, runtime, precision = words
    bundle = load_bundle(Path(folder))
    return _of_candidate(bundle, find_candidates(bundle, runtime, precision)[0])


def _of_candidate(bundle: Bundle, candidate: Candidate) -> Source:
    return Source(
        name=candidate.runtime.name,
        precision=candidate.precision,
        library=candidate.runtime.module,
        load=candidate.load,
        words=("bundle", str(bundle.folder), candidate.runtime.name, candidate.precision),
    )


def _load_run(run: Path, threads: int | None, *, compiled: bool, device: "Device") -> Engine:
    from lvseg_export.trained import load_torch

    return load_torch(run, threads=threads, compiled=compiled, device=device)
