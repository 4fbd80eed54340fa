"""Divide labelled slices into those to train on and those to validate on."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Generic, TypeVar

import numpy as np

from lvseg.data.labelled import LabelledImage, Named
from lvseg.data.layout import case_name, case_order
from lvseg.errors import DatasetError, OptionError

S = TypeVar("S", bound=Named)


@dataclass(frozen=True)
class Split(Generic[S]):
    """What is trained on and what is validated on, each in the order of the data set.

    Raises:
        DatasetError: ``SLICE_IN_BOTH``, if they have a slice in common and are not said to.
    """

    training: tuple[S, ...]
    validation: tuple[S, ...]
    disjoint: bool = True
    """Whether they have nothing in common; :func:`leave_none_out` alone says that they do."""

    def __post_init__(self) -> None:
        if not self.disjoint:
            return
        trained = {sample.name for sample in self.training}
        twice = next((sample.name for sample in self.validation if sample.name in trained), None)
        if twice is not None:
            raise DatasetError(
                f"{twice} is for training and for validation; expected each slice on one side",
                reason="SLICE_IN_BOTH",
                field="--validate",
            )


def check_patients_apart(split: Split[LabelledImage]) -> None:
    """Check that nobody stands on both sides of a split: by name, or under two names by one DICOM study.

    For splits that claim to be by patient; :func:`split_by_percent` makes none of these.

    Raises:
        DatasetError: ``PATIENT_IN_BOTH``; the message has the names of the slices and no identifier of a file.
    """
    trained = {image.patient: image for image in split.training}
    trained_studies = {image.slice.study_instance_uid: image for image in split.training}
    for image in split.validation:
        study = image.slice.study_instance_uid
        if image.patient in trained:
            raise _in_both(f"{image.patient} is on both sides of the split", trained[image.patient], image)
        if study and study in trained_studies:
            other = trained_studies[study]
            named = f"{other.patient} and {image.patient} are of one study, so one patient under two names"
            raise _in_both(named, other, image)


def _in_both(found: str, training: LabelledImage, validation: LabelledImage) -> DatasetError:
    return DatasetError(
        f"{found} ({training.name} for training, {validation.name} for validation); keep all of a patient on one side",
        reason="PATIENT_IN_BOTH",
        field="--validate",
    )


def leave_none_out(samples: Sequence[S]) -> Split[S]:
    """Train on everything and validate on the same: what is measured so says nothing of other patients."""
    return Split(tuple(samples), tuple(samples), disjoint=False)


def choose_split(
    samples: Sequence[S], patients: Sequence[str], percent: float | None, *, seed: int
) -> Split[S]:
    """Return the split that the options ``--validate`` and ``--validation-percent`` ask for.

    Raises:
        OptionError: If neither or both do, or as :func:`split_by_patient` and :func:`split_by_percent`.
        DatasetError: As those two.
    """
    if patients and percent is not None:
        raise OptionError(
            "--validate and --validation-percent are two ways to divide the data: give one of them",
            reason="TWO_SPLITS",
            field="--validation-percent",
        )
    if patients:
        return split_by_patient(samples, patients)
    if percent is not None:
        return split_by_percent(samples, percent, seed)
    known = ", ".join(dict.fromkeys(sample.patient for sample in samples))
    raise OptionError(
        f"nothing to validate on: pass --validate PATIENT (here: {known}) or --validation-percent",
        reason="NO_VALIDATION",
        field="--validate",
    )


def split_by_patient(samples: Sequence[S], patients: Iterable[str]) -> Split[S]:
    """Validate on whole patients: the honest split, for no patient stands on both sides.

    Args:
        samples: The data set.
        patients: Patients to validate on; ``SC-HF-I-05`` names the same as ``SC-HF-I-5``.

    Raises:
        OptionError: If a patient is not in the data set.
        DatasetError: If nothing is left to train or to validate on.
    """
    known = dict.fromkeys(sample.patient for sample in samples)
    chosen: set[str] = set()
    for patient in patients:
        meant = (
            {patient}
            if patient in known
            else {name for name in known if case_name(name) == case_name(patient)}
        )
        if len(meant) != 1:
            raise OptionError(
                f"no patient {patient} in the data set; it has {', '.join(sorted(known, key=case_order))}",
                reason="UNKNOWN_PATIENT",
                field="--validate",
                expected=", ".join(sorted(known, key=case_order)),
            )
        chosen |= meant
    return _divide(samples, {sample.name for sample in samples if sample.patient in chosen})


def split_by_percent(samples: Sequence[S], percent: float, seed: int) -> Split[S]:
    """Validate on a seeded random share of the contours: the lab's split.

    Of ``n`` contours, floor(n x percent / 100) are for validation: 26 of 260 at 10%. Patients stand on
    both sides, at neighbouring slices and phases, so the figures flatter; :func:`split_by_patient` is honest.

    Args:
        samples: The data set; which samples are drawn depends on their names and not on their order.
        percent: Above 0 and below 100.
        seed: Of the draw, 0 or above.

    Raises:
        OptionError: If ``percent`` or ``seed`` is out of range.
        DatasetError: If nothing is left to train or to validate on.
    """
    if not 0 < percent < 100:
        raise OptionError(
            f"the share for validation must be above 0 and below 100%, got {percent:g}",
            reason="BAD_PERCENT",
            field="--validation-percent",
            expected="a number above 0 and below 100",
        )
    if seed < 0:
        raise OptionError(f"the seed must be 0 or above, got {seed}", reason="BAD_SEED", field="--seed")
    # As a fraction of the number as written: 29% of 100 is 29, though 100 * 0.29 is just below.
    count = math.floor(len(samples) * Fraction(str(percent)) / 100)
    names = sorted(sample.name for sample in samples)
    drawn = {names[index] for index in np.random.default_rng(seed).permutation(len(names))[:count]}
    return _divide(samples, drawn)


def _divide(samples: Sequence[S], validation: set[str]) -> Split[S]:
    split = Split(
        tuple(sample for sample in samples if sample.name not in validation),
        tuple(sample for sample in samples if sample.name in validation),
    )
    for part, name in ((split.training, "train"), (split.validation, "validate")):
        if not part:
            raise DatasetError(
                f"the split leaves nothing to {name} on: {len(split.training)} labelled slices for training, "
                f"{len(split.validation)} for validation; choose other patients or another share",
                reason="EMPTY_SPLIT",
                field="--validate",
            )
    return split
