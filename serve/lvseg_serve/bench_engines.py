"""The engines of a bundle, made ready to be measured."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lvseg.cli import notice
from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.dicom import Slice
from lvseg.errors import EngineError
from lvseg.evaluation import evaluate
from lvseg.resample import to_working
from lvseg_export.bundle import Bundle
from lvseg_export.choice import AUTO, choose_engine, find_candidates
from lvseg_export.engines.base import Engine
from lvseg_export.evaluate import predictor
from lvseg_export.gate import check_reference
from lvseg_serve.bench import Failure, Subject

ALL = "all"
"""Of engines: each that the machine and the bundle allow, not the fastest alone."""


class Loaded(NamedTuple):
    """An engine that passed the gate."""

    engine: Engine
    load_ms: float
    """Of the file alone, without the gate."""


def load_engines(
    bundle: Bundle, runtime: str, precision: str, threads: int | None
) -> tuple[list[Loaded], list[Failure]]:
    """Load the engine that is asked for, or with :data:`ALL` each; those that fail are told, not measured.

    Raises:
        OptionError: As :func:`lvseg_export.choice.choose_engine`.
        EngineError: If none can be measured.
    """
    if runtime == ALL:
        candidates = find_candidates(bundle, AUTO, precision)
    else:
        candidates = [choose_engine(bundle, runtime, precision, threads=threads).candidate]
    loaded, failures = [], []
    for candidate in candidates:
        started = time.perf_counter()
        try:
            engine = candidate.load(threads)
            load_ms = (time.perf_counter() - started) * 1e3
            check_reference(engine, bundle)
        except EngineError as error:
            failures.append(
                Failure(engine=candidate.runtime.name, precision=candidate.precision, reason=str(error))
            )
        else:
            loaded.append(Loaded(engine, load_ms))
    if not loaded:
        raise EngineError("; ".join(f"{failure.engine}: {failure.reason}" for failure in failures))
    return loaded, failures


def labelled_images(images: Path, contours: Path) -> tuple[LabelledImage, ...]:
    """Return the slices that have a contour; how many contours cannot be used is told."""
    index = index_sunnybrook(images, contours)
    loaded = load_all(index.samples)
    left_out = len(index.problems) + len(loaded.problems)
    if left_out:
        notice(f"{left_out} contours left out, Dice is of {len(loaded.images)} slices; lvseg-data tells why")
    return loaded.images


def engine_subjects(
    bundle: Bundle,
    engines: Sequence[Loaded],
    slice_: Slice,
    batches: Sequence[int],
    labelled: Sequence[LabelledImage],
) -> Iterator[Subject]:
    """Give each engine with each batch size as a subject, with its Dice on labelled slices if there are any."""
    spacing = bundle.manifest.input.working_spacing_mm
    pixels = to_working(slice_.pixels, slice_.pixel_spacing, spacing)
    for engine, load_ms in engines:
        dice = None
        if labelled:
            dice = evaluate(predictor(engine, spacing), labelled).scores("honest").dice
        for batch in batches:
            stack = np.repeat(pixels[None, None], batch, axis=0)
            yield Subject(
                engine=engine.name,
                precision=engine.precision,
                batch=batch,
                threads=engine.threads,
                call=partial(engine.run, stack),
                load_ms=load_ms,
                dice=dice,
            )
