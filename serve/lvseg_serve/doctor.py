"""Which engines there are on this machine, and what is missing for the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

from lvseg.errors import EngineError
from lvseg_export.choice import RUNTIMES, Runtime


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One runtime here."""

    runtime: str
    version: str
    """Empty where it is not installed."""
    precisions: tuple[str, ...]
    """What it can compute in on this processor."""
    remedy: str
    """What is missing, and what to run to get it; empty for nothing."""


def diagnose() -> Iterator[Finding]:
    """Give a finding for each runtime that lvseg knows."""
    return map(_finding, RUNTIMES.values())


def _finding(runtime: Runtime) -> Finding:
    if not runtime.installed:
        return Finding(
            runtime=runtime.name,
            version="",
            precisions=(),
            remedy=f"not installed; run: pip install 'lvseg[{runtime.extra}]'",
        )
    try:
        found = str(import_module(runtime.module).__version__).split("-")[0]  # without the build
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(
            runtime=runtime.name, version="", precisions=(), remedy=f"it cannot be imported: {error}"
        )
    try:
        lacking = {precision: runtime.lacks(precision) for precision in runtime.precisions}
    except EngineError as error:
        return Finding(runtime=runtime.name, version=found, precisions=(), remedy=str(error))
    reasons = set(lacking.values())
    if len(reasons) == 1:  # the same for all
        remedy = reasons.pop()
    else:
        remedy = "; ".join(f"{precision}: {lacks}" for precision, lacks in lacking.items() if lacks)
    return Finding(
        runtime=runtime.name,
        version=found,
        precisions=tuple(precision for precision, lacks in lacking.items() if not lacks),
        remedy=remedy,
    )
