"""From probabilities to the mask: which of the parts that a network finds is the left ventricle."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import logit

from lvseg.box import bounding_box

THRESHOLD = 0.5
"""A pixel is the ventricle's where its probability is above it."""
_IMPOSSIBLE = 1e-6  # float32 rounds a probability to 1 soon after; beyond it nothing is surer


def ventricle(probability: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where a probability is above :data:`THRESHOLD`: of several parts the one that speaks most for a ventricle.

    A slice has one left ventricle, and what else is found is something else. A part's weight is the mean of
    its log odds times the root of its area: a cavity that the network is sure of outweighs a larger part
    that it half believes in, and a few pixels that it is sure of do not outweigh a cavity.

    Args:
        probability: Shape ``(rows, columns)``. Pixels are connected when they share a side.
    """
    above = probability > THRESHOLD
    box = bounding_box(above)
    if box is None:
        return above
    parts, count = ndimage.label(above[box])
    if count < 2:
        return above
    found = parts > 0
    sure = np.clip(probability[box][found].astype(np.float64), None, 1.0 - _IMPOSSIBLE)
    log_odds = np.bincount(parts[found], weights=logit(sure))[1:]
    weights = log_odds / np.sqrt(np.bincount(parts[found])[1:])
    heaviest = np.zeros_like(above)
    heaviest[box] = parts == 1 + weights.argmax()
    return heaviest
