"""An evaluation: the results of all slices, by patient and in all."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from lvseg.contour import Mask
from lvseg.data.labelled import LabelledImage
from lvseg.data.layout import case_order
from lvseg.evaluation.areas import AreaAgreement, area_agreement
from lvseg.evaluation.phases import phases
from lvseg.evaluation.results import SliceResult, judge
from lvseg.evaluation.scores import AcrossPatients, Scores, Way, across, score

Predict: TypeAlias = Callable[[LabelledImage], Mask]
"""Returns the mask of a slice, of the slice's own shape ``(rows, columns)``."""


@dataclass(frozen=True)
class PatientResult:
    """The slices of one patient."""

    patient: str
    results: tuple[SliceResult, ...]

    def scores(self, way: Way) -> Scores:
        """Return the means over the patient's slices."""
        return score(self.results, way)


@dataclass(frozen=True)
class Evaluation:
    """How a model, or each of several on its own share of the patients, does on labelled slices.

    Made by :func:`evaluate`, or by :meth:`of` from the results of several evaluations.
    """

    results: tuple[SliceResult, ...]
    """At least one; by patient, then name."""

    @classmethod
    def of(cls, results: Iterable[SliceResult]) -> "Evaluation":
        """Return the evaluation of these slices, in whatever order they come.

        Raises:
            ValueError: If there are none.
        """
        ordered = sorted(results, key=lambda result: (case_order(result.patient), result.name))
        if not ordered:
            raise ValueError("there is nothing to evaluate: no slices")
        return cls(tuple(ordered))

    @property
    def patients(self) -> tuple[PatientResult, ...]:
        """The results by patient."""
        names = dict.fromkeys(result.patient for result in self.results)
        return tuple(
            PatientResult(name, tuple(result for result in self.results if result.patient == name))
            for name in names
        )

    def scores(self, way: Way) -> Scores:
        """Return the means over all slices: a patient with more slices counts for more."""
        return score(self.results, way)

    def across_patients(self, way: Way) -> AcrossPatients:
        """Return mean and spread over patients: each counts once, as in the challenge's published tables."""
        return across([patient.scores(way) for patient in self.patients])

    @property
    def areas(self) -> AreaAgreement:
        """Bias and limits of agreement of the areas of all slices."""
        return area_agreement(self.results)

    def worst(self, count: int) -> Sequence[SliceResult]:
        """Return up to ``count`` slices, the lowest Dice first; of equals, the larger ventricle first."""
        ordered = sorted(self.results, key=lambda result: (result.dice, -result.expert_area_mm2))
        return ordered[:count]


def evaluate(predict: Predict, images: Iterable[LabelledImage]) -> Evaluation:
    """Segment labelled slices and compare each with its expert's label.

    Args:
        predict: Returns a slice's mask, on the slice's own grid and whole.
        images: What to evaluate on, each taken once and in order.

    Raises:
        ValueError: If there are no slices, or ``predict`` returns what is no mask of the slice.
    """
    results = [judge(image, predict(image)) for image in images]
    known = phases([result.image for result in results])
    return Evaluation.of(
        dataclasses.replace(result, phase=phase) for result, phase in zip(results, known, strict=True)
    )
