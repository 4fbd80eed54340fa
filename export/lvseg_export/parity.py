"""How far an engine's answers are from the trained model's."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from lvseg.errors import EngineError
from lvseg_export.bundle import REFERENCE, Bundle
from lvseg_export.engines.base import Engine, Prediction

LARGEST_DIFFERING_SHARE = {"fp32": 1e-4}
"""By precision: the share of mask pixels that may differ from the trained model in PyTorch."""


@dataclass(frozen=True, kw_only=True)
class Parity:
    """An engine beside the trained model, over a set of slices."""

    slices: int
    pixels: int
    differing_pixels: int
    """Mask pixels on which the two disagree."""
    largest_probability_difference: float

    @property
    def differing_share(self) -> float:
        """Share of the mask pixels on which the two disagree."""
        return self.differing_pixels / self.pixels


def compare_predictions(pairs: Iterable[tuple[Prediction, Prediction]]) -> Parity:
    """Compare predictions, found first and expected second, over one or more batches."""
    slices = pixels = differing = 0
    largest = 0.0
    for found, expected in pairs:
        if found.mask.shape != expected.mask.shape:
            raise EngineError(f"the mask has shape {found.mask.shape}, expected {expected.mask.shape}")
        slices += len(expected.mask)
        pixels += expected.mask.size
        differing += int(np.count_nonzero(found.mask != expected.mask))
        difference = np.abs(found.probability - expected.probability)
        # A NaN compares as small: it has to count as the largest difference there is.
        largest = max(largest, float(np.where(np.isfinite(difference), difference, np.inf).max()))
    return Parity(
        slices=slices, pixels=pixels, differing_pixels=differing, largest_probability_difference=largest
    )


def require_parity(parity: Parity, engine: Engine) -> None:
    """Refuse an engine that does not say what the trained model says.

    Raises:
        EngineError: If more pixels differ than its precision allows, or a probability is not finite.
    """
    limit = LARGEST_DIFFERING_SHARE[engine.precision]
    if parity.differing_share > limit or not np.isfinite(parity.largest_probability_difference):
        raise EngineError(
            f"{engine.name} ({engine.precision}) differs from the trained model on {parity.differing_pixels} of "
            f"{parity.pixels} pixels ({parity.differing_share:.2%}, allowed {limit:.2%}; largest difference in "
            f"probability {parity.largest_probability_difference:.3g}); try another engine or export again"
        )


def check_reference(engine: Engine, bundle: Bundle) -> Parity:
    """Run an engine on its bundle's reference slices and refuse it if it disagrees with the trained model.

    Raises:
        EngineError: See :func:`require_parity`.
    """
    with np.load(bundle.path(REFERENCE), allow_pickle=False) as reference:
        pixels = reference["pixels"]
        expected = Prediction(reference["mask"], reference["probability"])
    parity = compare_predictions([(engine.run(pixels), expected)])
    require_parity(parity, engine)
    return parity
