"""What is known of engines beside their time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lvseg.cli import notice
from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.errors import EngineError
from lvseg.evaluation import evaluate
from lvseg_export.bundle import Bundle
from lvseg_export.engines.base import Engine
from lvseg_export.evaluate import predictor
from lvseg_serve.bench.arithmetic import gflop_of_slice
from lvseg_serve.bench.memory import memory_mib
from lvseg_serve.bench.peak import peak_gflop_per_s
from lvseg_serve.bench.slice import Stack
from lvseg_serve.bench.sources import Source


@dataclass(frozen=True, kw_only=True)
class Known:
    """Finds out what a row tells of its engine; ``None`` stands for what is not known of it."""

    dice: Callable[[Engine], float | None]
    gflop: float | None
    """Of one slice."""
    peak_gflop_per_s: Callable[[Engine], float | None]
    memory_mib: Callable[[Source, Engine, Stack], float | None]


def find_known(bundle: Bundle, stack: Stack, labelled: Sequence[LabelledImage], *, memory: bool) -> Known:
    """Return what can be found out of engines of a bundle.

    Args:
        bundle: A checked bundle.
        stack: Whose shape the arithmetic is counted for.
        labelled: Slices for the Dice; may be none.
        memory: Whether memory shall be measured, which loads each engine once more for each stack.
    """
    spacing = bundle.manifest.input.working_spacing_mm
    gflop = gflop_of_slice(bundle, *stack.shape[2:])
    peak_of = cache(peak_gflop_per_s)  # measured once for each number of threads

    def dice(engine: Engine) -> float | None:
        return evaluate(predictor(engine, spacing), labelled).scores("honest").dice if labelled else None

    def peak(engine: Engine) -> float | None:
        # An engine elsewhere is not to be measured by what the processor can do.
        return peak_of(engine.threads) if gflop is not None and engine.name.endswith("-cpu") else None

    def memory_of(source: Source, engine: Engine, pixels: Stack) -> float | None:
        if not memory:
            return None
        try:
            return memory_mib(source, pixels.shape, engine.threads)
        except EngineError as error:
            notice(f"{engine.name} {engine.precision}: {error}")
            return None

    return Known(dice=dice, gflop=gflop, peak_gflop_per_s=peak, memory_mib=memory_of)


def labelled_images(images: Path, contours: Path) -> tuple[LabelledImage, ...]:
    """Return the slices that have a contour; how many contours cannot be used is told."""
    index = index_sunnybrook(images, contours)
    loaded = load_all(index.samples)
    left_out = len(index.problems) + len(loaded.problems)
    if left_out:
        notice(f"{left_out} contours left out, Dice is of {len(loaded.images)} slices; lvseg-data tells why")
    return loaded.images
