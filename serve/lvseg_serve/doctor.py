"""Which engines there are on this machine, and what is missing for the others."""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

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
        lacking = {precision: runtime.lacking(precision) for precision in runtime.precisions}
        found = str(import_module(runtime.module).__version__).split("-")[0]  # without the build
    except (ImportError, OSError, RuntimeError) as error:
        return Finding(
            runtime=runtime.name, version="", precisions=(), remedy=f"it cannot be imported: {error}"
        )
    return Finding(
        runtime=runtime.name,
        version=found,
        precisions=tuple(precision for precision, lacks in lacking.items() if not lacks),
        remedy="; ".join(f"{precision}: {lacks}" for precision, lacks in lacking.items() if lacks),
    )
