"""The means of slice results: over slices and over patients, in both ways of scoring."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from lvseg.evaluation.results import Overlap, SliceResult

Way: TypeAlias = Literal["honest", "challenge"]
"""``honest``: every slice counts, with its whole mask. ``challenge``: as the 2009 challenge's own code scores
one contour a slice, the good ones alone."""

WAYS: tuple[Way, ...] = get_args(Way)
MEASURES = (
    "dice",
    "apd_mm",
    "hausdorff_mm",
    "good_percent",
    "area_error_percent",
    "absolute_area_error_percent",
)
"""The figures of :class:`Scores` that have a mean and a spread over patients."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Means over slices, scored in one way. A mean over no slice at all is ``None``."""

    contours: int
    """All that the expert drew on these slices."""
    missed: int
    """Of these, how many ventricles the model does not find at all."""
    counted: int
    """Contours behind ``dice`` and the area errors: honest, all; challenge, the good ones."""
    measured: int
    """Contours behind ``apd_mm`` and ``hausdorff_mm``: of those counted, the ones that are not missed."""
    dice: float | None
    apd_mm: float | None
    hausdorff_mm: float | None
    good_percent: float
    """Share of good contours among all contours, in both ways."""
    area_error_percent: float | None
    """Signed: below 0 where the model finds too little on average."""
    absolute_area_error_percent: float | None
    """Without the sign, slice by slice, so that errors of both signs do not cancel."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """The mean of one figure over patients, each patient counting once, and how the patients differ."""

    mean: float
    sd: float | None
    """Sample standard deviation (n - 1); ``None`` for one patient."""
    patients: int
    """How many patients have the figure: one without a good contour has no challenge Dice."""


@dataclass(frozen=True, kw_only=True)
class AcrossPatients:
    """The patients' own :class:`Scores`, averaged. ``None`` where no patient has the figure."""

    patients: int
    dice: Spread | None
    apd_mm: Spread | None
    hausdorff_mm: Spread | None
    good_percent: Spread | None
    area_error_percent: Spread | None
    absolute_area_error_percent: Spread | None


def score(results: Sequence[SliceResult], way: Way) -> Scores:
    """Return the means over slices.

    Raises:
        ValueError: If there are no slices.

    References:
        Radau et al., 2009, and their evaluation code, version 1.0 (2009-06-29): see docs/evaluation.md.
    """
    if not results:
        raise ValueError("there is nothing to score: no slices")
    counted = [result for result in results if result.good] if way == "challenge" else results
    overlaps: list[Overlap] = [result.outline if way == "challenge" else result for result in counted]
    distances = [result.apd_mm for result in counted if result.apd_mm is not None]
    return Scores(
        contours=len(results),
        missed=sum(result.missed for result in results),
        counted=len(counted),
        measured=len(distances),
        dice=_mean(overlap.dice for overlap in overlaps),
        apd_mm=_mean(distances),
        hausdorff_mm=_mean(overlap.hausdorff_mm for overlap in overlaps if overlap.hausdorff_mm is not None),
        good_percent=100.0 * sum(result.good for result in results) / len(results),
        area_error_percent=_mean(overlap.area_error_percent for overlap in overlaps),
        absolute_area_error_percent=_mean(abs(overlap.area_error_percent) for overlap in overlaps),
    )


def across(scores: Sequence[Scores]) -> AcrossPatients:
    """Return the mean and spread over patients of their own scores, all of one way."""
    return AcrossPatients(
        patients=len(scores),
        **{measure: _spread(getattr(one, measure) for one in scores) for measure in MEASURES},
    )


def _spread(values: Iterable[float | None]) -> Spread | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(
        mean=statistics.fmean(known),
        sd=statistics.stdev(known) if len(known) > 1 else None,
        patients=len(known),
    )


def _mean(values: Iterable[float]) -> float | None:
    numbers = list(values)
    return statistics.fmean(numbers) if numbers else None
