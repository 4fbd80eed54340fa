"""How far an engine's answers are from the trained model's, and how far they may be."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvseg.contour import mask_area_mm2, mask_to_contour
from lvseg.decision import THRESHOLD
from lvseg.errors import EngineError
from lvseg.metrics import average_perpendicular_distance_mm, dice
from lvseg_export.engines.base import Engine, Prediction

REMEDY = "take another engine or precision, or export again"
"""What a refusal ends with."""

TRAINED = "the trained model"
"""What an engine mostly is held to."""

LARGEST_DIFFERING_SHARE: Mapping[str, float] = {"fp32": 1e-4}
"""By precision: the share of mask pixels that may differ from the trained model in PyTorch."""

LARGEST_DICE_LOSS: Mapping[str, float] = {"fp16": 0.002, "bf16": 0.002, "int8": 0.01}
"""By precision: how far the Dice of an engine's masks with the trained model's may be from 1, and the Dice with an
expert's labels from the trained model's."""


class Pair(NamedTuple):
    """What an engine found in a batch, and what was expected of it."""

    found: Prediction
    expected: Prediction
    first_slice: int = 0
    """Number of the batch's first slice, by which a refusal names it."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """An engine's masks beside the trained model's, over a set of slices on the working grid."""

    slices: int
    pixels: int
    differing_pixels: int
    """Pixels on which the two disagree: in the mask, or in whether the probability is above a half."""
    largest_probability_difference: float
    """Infinite where a probability is not a number."""
    dice: float
    """Of the two masks, or of where the probabilities are above a half, whichever is lower: the mean over the
    slices; 1 where both are empty."""
    lowest_dice: float
    lowest_slice: int
    """Number of the slice with the lowest Dice."""
    apd_mm: float | None
    """Average perpendicular distance of the two outlines, the mean over the slices that have both."""
    area_difference_mm2: float
    """Mean of the absolute difference of the two areas."""

    @property
    def differing_share(self) -> float:
        """Share of the mask pixels on which the two disagree."""
        return self.differing_pixels / self.pixels


def compare_predictions(pairs: Iterable[Pair], *, working_spacing_mm: float) -> Parity:
    """Compare predictions over one or more batches.

    Raises:
        EngineError: If a mask or probability has another shape than expected.
        ValueError: If there are no slices.
    """
    spacing = (working_spacing_mm, working_spacing_mm)
    pixels = differing = 0
    largest, distances, areas = 0.0, [], []
    dices: list[float] = []
    numbers: list[int] = []
    for found, expected, first_slice in pairs:
        for what, one in (("mask", found.mask), ("probability", found.probability)):
            if one.shape != expected.mask.shape:
                raise EngineError(f"the {what} has shape {one.shape}, expected {expected.mask.shape}")
        # The mask is what the graph decides, the probability what a slice's own mask is made of: both have to agree.
        likely, expected_likely = found.probability > THRESHOLD, expected.probability > THRESHOLD
        pixels += expected.mask.size
        differing += int(np.count_nonzero((found.mask != expected.mask) | (likely != expected_likely)))
        difference = np.abs(found.probability - expected.probability)
        # A NaN compares as small: it has to count as the largest difference there is.
        largest = max(largest, float(np.where(np.isfinite(difference), difference, np.inf).max()))
        numbers += range(first_slice, first_slice + len(expected.mask))
        dices += map(min, map(dice, found.mask, expected.mask), map(dice, likely, expected_likely))
        for mask, reference in zip(found.mask, expected.mask, strict=True):
            areas.append(abs(mask_area_mm2(mask, spacing) - mask_area_mm2(reference, spacing)))
            distances.append(_distance_mm(mask, reference, spacing))
    if not dices:
        raise ValueError("expected slices to compare, got none")
    apart = [distance for distance in distances if distance is not None]
    return Parity(
        slices=len(dices),
        pixels=pixels,
        differing_pixels=differing,
        largest_probability_difference=largest,
        dice=float(np.mean(dices)),
        lowest_dice=min(dices),
        lowest_slice=numbers[int(np.argmin(dices))],
        apd_mm=float(np.mean(apart)) if apart else None,
        area_difference_mm2=float(np.mean(areas)),
    )


def _distance_mm(
    mask: NDArray[np.uint8], reference: NDArray[np.uint8], spacing: tuple[float, float]
) -> float | None:
    outline, expected = mask_to_contour(mask), mask_to_contour(reference)
    if outline is None or expected is None:
        return None
    return average_perpendicular_distance_mm(outline, expected, spacing)


def require_finite(parity: Parity, engine: Engine, check: str) -> None:
    """Refuse an engine that gave a probability that is no finite number.

    Raises:
        EngineError: If it did.
    """
    if not np.isfinite(parity.largest_probability_difference):
        raise EngineError(
            f"{engine.name} ({engine.precision}) on {check}: a probability is not a finite number; {REMEDY}"
        )


def require_parity(parity: Parity, engine: Engine, check: str, *, beside: str = TRAINED) -> None:
    """Refuse an engine that does not say what was expected of it.

    Args:
        parity: What was found.
        engine: The engine; its precision decides what it may differ by.
        check: What was checked, such as ``"phantoms"``, for the message.
        beside: What said what was expected, for the message.

    Raises:
        EngineError: If more differs than its precision allows, or a probability is not finite.
    """
    who = f"{engine.name} ({engine.precision}) differs from {beside} on {check}"
    require_finite(parity, engine, check)
    if engine.precision in LARGEST_DIFFERING_SHARE:
        allowed = LARGEST_DIFFERING_SHARE[engine.precision]
        if parity.differing_share > allowed:
            raise EngineError(
                f"{who}: {parity.differing_pixels} of {parity.pixels} pixels ({parity.differing_share:.2%}, allowed "
                f"{allowed:.2%}), most on slice {parity.lowest_slice}; {REMEDY}"
            )
        return
    if 1.0 - parity.dice > LARGEST_DICE_LOSS[engine.precision]:
        raise EngineError(
            f"{who}: the masks' mean Dice is {parity.dice:.4f}, expected at least "
            f"{1.0 - LARGEST_DICE_LOSS[engine.precision]:g}; lowest is {parity.lowest_dice:.4f}, on slice "
            f"{parity.lowest_slice}; {REMEDY}"
        )
