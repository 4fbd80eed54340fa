"""From probabilities to the mask: which of the parts that a network finds is the left ventricle."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import logit

_IMPOSSIBLE = 1e-6  # float32 rounds a probability to 1 soon after; beyond it nothing is surer


def ventricle(probability: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return where a probability is above 0.5: of several parts the one that speaks most for a ventricle.

    A slice has one left ventricle, and what else is found is something else. A part's weight is the mean of
    its log odds times the root of its area: a cavity that the network is sure of outweighs a larger part
    that it half believes in, and a few pixels that it is sure of do not outweigh a cavity.

    Args:
        probability: Shape ``(rows, columns)``. Pixels are connected when they share a side.
    """
    parts, count = ndimage.label(probability > 0.5)
    if count < 2:
        inside: NDArray[np.bool_] = parts > 0
        return inside
    log_odds = logit(np.clip(probability.astype(np.float64), _IMPOSSIBLE, 1.0 - _IMPOSSIBLE))
    areas = np.bincount(parts.ravel())[1:]
    weights = ndimage.sum_labels(log_odds, parts, np.arange(1, count + 1)) / np.sqrt(areas)
    heaviest: NDArray[np.bool_] = parts == 1 + weights.argmax()
    return heaviest
