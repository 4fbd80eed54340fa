"""What an engine has to pass: at export in full, at every loading in short, and one slice of it while it serves."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg_export.bundle import Bundle
from lvseg_export.engines.base import Engine, Prediction
from lvseg_export.parity import REMEDY, TRAINED, Pair, Parity, compare_predictions, require_parity

Slices = NDArray[np.float32]
"""Shape (N, 1, H, W), on the working grid."""

_EXTREMES = {"zeros": 0.0, "a constant image": 1000.0, "the largest float16": 65504.0, "below zero": -32768.0}
_SIDE = 96
"""Of the images above, in pixels."""
_OTHER_SHAPES = ((96, 160), (161, 127), (224, 224))
"""(rows, columns) that phantoms are cut to, if they are larger: a multiple of 32, odd, and square."""


def check_reference(engine: Engine, bundle: Bundle) -> None:
    """Hold an engine to its bundle's reference: phantoms, with what the trained model says of them.

    Raises:
        EngineError: If it differs by more than its precision allows; the message names the check.
    """
    pixels, expected = bundle.reference
    spacing = bundle.manifest.input.working_spacing_mm
    check_phantoms(engine, pixels, expected, spacing)
    alone = (Pair(engine.run(pixels[at : at + 1]), _one(expected, at), at) for at in range(len(pixels)))
    _required(engine, "phantoms one by one", alone, spacing)
    check_finite(engine)


def check_phantoms(engine: Engine, pixels: Slices, expected: Prediction, working_spacing_mm: float) -> Parity:
    """Compare an engine's answer to a batch of phantoms with the trained model's.

    Raises:
        EngineError: If it differs by more than its precision allows.
    """
    return _required(engine, "phantoms", [Pair(engine.run(pixels), expected)], working_spacing_mm)


@dataclass(frozen=True, eq=False, kw_only=True)
class Canary:
    """A phantom that an engine answers rightly as long as nothing is wrong with it."""

    engine: Engine
    pixels: Slices
    """Shape (1, 1, H, W)."""
    expected: Prediction
    """What the trained model says of it."""
    working_spacing_mm: float

    def check(self, found: Prediction) -> None:
        """Hold an answer to the phantom to the trained model's.

        Raises:
            EngineError: If it differs by more than the engine's precision allows.
        """
        _required(self.engine, "the canary", [Pair(found, self.expected)], self.working_spacing_mm)


def choose_canary(engine: Engine, bundle: Bundle) -> Canary:
    """Return the phantom of a bundle's reference on which an engine that passed the gate is closest to the model.

    One with a ventricle where there is one: an engine that finds nothing anywhere would pass on the others. The gate's
    limits are of the mean over all phantoms, and some phantom is no worse than the mean.
    """
    pixels, expected = bundle.reference
    spacing = bundle.manifest.input.working_spacing_mm

    def closeness(at: int) -> tuple[bool, bool, float, int]:
        pair = Pair(engine.run(pixels[at : at + 1]), _one(expected, at))
        parity = compare_predictions([pair], working_spacing_mm=spacing)
        try:
            require_parity(parity, engine, "the canary")
            passes = True
        except EngineError:
            passes = False
        return passes, bool(pair.expected.mask.any()), parity.dice, -parity.differing_pixels

    best = max(range(len(pixels)), key=closeness)
    return Canary(
        engine=engine,
        pixels=pixels[best : best + 1].copy(),
        expected=Prediction(
            expected.mask[best : best + 1].copy(), expected.probability[best : best + 1].copy()
        ),
        working_spacing_mm=spacing,
    )


def check_batches(engine: Engine, pixels: Slices, working_spacing_mm: float) -> Parity:
    """Hold every slice, at every position of batches of two to all of them, to what it gets alone.

    Raises:
        EngineError: If the company of a slice changes its mask by more than the precision allows.
    """
    alone = [engine.run(one[np.newaxis]) for one in pixels]

    def pairs() -> Iterator[Pair]:
        for size in range(2, len(pixels) + 1):
            for first in range(len(pixels)):
                order = [(first + step) % len(pixels) for step in range(size)]
                together = engine.run(np.ascontiguousarray(pixels[order]))
                yield from (Pair(_one(together, place), alone[at], at) for place, at in enumerate(order))

    return _required(
        engine, "phantoms in batches", pairs(), working_spacing_mm, beside="its own answer to each alone"
    )


def check_shapes(engine: Engine, trained: Engine, pixels: Slices, working_spacing_mm: float) -> Parity:
    """Compare with the trained model on slices of other shapes, cut from phantoms.

    Raises:
        EngineError: If a shape gives another mask than the precision allows.
    """
    cuts = [_middle(pixels, rows, columns) for rows, columns in _OTHER_SHAPES]
    pairs = (Pair(engine.run(cut), trained.run(cut)) for cut in cuts)
    return _required(engine, "phantoms of other shapes", pairs, working_spacing_mm)


def check_finite(engine: Engine) -> None:
    """Refuse an engine that gives no finite probability for an image without content, or with extreme values.

    Raises:
        EngineError: The message names the image.
    """
    images = {what: np.full((1, 1, _SIDE, _SIDE), value, np.float32) for what, value in _EXTREMES.items()}
    spike = np.zeros((1, 1, _SIDE, _SIDE), np.float32)
    spike[..., _SIDE // 2, _SIDE // 2] = 65535.0
    for what, image in {**images, "a single bright pixel": spike}.items():
        if not np.isfinite(engine.run(image).probability).all():
            raise EngineError(
                f"{engine.name} ({engine.precision}) gives probabilities that are no finite numbers for {what}; "
                f"{REMEDY}"
            )


def _required(
    engine: Engine,
    check: str,
    pairs: Iterable[Pair],
    working_spacing_mm: float,
    *,
    beside: str = TRAINED,
) -> Parity:
    parity = compare_predictions(pairs, working_spacing_mm=working_spacing_mm)
    require_parity(parity, engine, check, beside=beside)
    return parity


def _middle(pixels: Slices, rows: int, columns: int) -> Slices:
    """Return the middle of slices, where the ventricle is; smaller where they are smaller."""
    top, left = (
        max(0, (have - wanted) // 2) for have, wanted in zip(pixels.shape[2:], (rows, columns), strict=True)
    )
    return np.ascontiguousarray(pixels[..., top : top + rows, left : left + columns])


def _one(prediction: Prediction, at: int) -> Prediction:
    return Prediction(prediction.mask[at : at + 1], prediction.probability[at : at + 1])
