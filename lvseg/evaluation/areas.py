"""How automatic areas agree with the expert's: bias and limits of agreement."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from lvseg.evaluation.results import SliceResult

_LIMIT_SDS = 1.96  # 95 of 100 differences lie within, if they are normally distributed


@dataclass(frozen=True, kw_only=True)
class AreaAgreement:
    """Of the areas of all slices, missed ones included with an automatic area of 0: automatic less expert."""

    slices: int
    bias_mm2: float
    """Mean difference."""
    sd_mm2: float | None
    """Sample standard deviation (n - 1) of the differences; ``None`` for one slice, and so are the limits."""
    lower_limit_mm2: float | None
    """Bias - 1.96 SD."""
    upper_limit_mm2: float | None
    """Bias + 1.96 SD."""


def area_agreement(results: Sequence[SliceResult]) -> AreaAgreement:
    """Return bias and limits of agreement of the areas.

    Slices of one patient resemble each other, so the limits are narrower than those of independent slices.

    Raises:
        ValueError: If there are no slices.

    References:
        Bland JM, Altman DG, "Statistical methods for assessing agreement between two methods of clinical
        measurement", The Lancet, 1986, https://doi.org/10.1016/S0140-6736(86)90837-8
    """
    if not results:
        raise ValueError("there are no areas to compare: no slices")
    differences = [result.area_error_mm2 for result in results]
    bias = statistics.fmean(differences)
    sd = statistics.stdev(differences) if len(differences) > 1 else None
    return AreaAgreement(
        slices=len(results),
        bias_mm2=bias,
        sd_mm2=sd,
        lower_limit_mm2=None if sd is None else bias - _LIMIT_SDS * sd,
        upper_limit_mm2=None if sd is None else bias + _LIMIT_SDS * sd,
    )
