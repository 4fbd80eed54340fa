from dataclasses import dataclass

import pytest

from lvseg.data.split import split_by_patient, split_by_percent
from lvseg.errors import DatasetError, OptionError


@dataclass(frozen=True)
class Sample:
    patient: str
    number: int

    @property
    def name(self):
        return f"{self.patient}/{self.number:04d}"


def samples(patient, count):
    return [Sample(patient, number) for number in range(1, count + 1)]


TWO_PATIENTS = (*samples("SC-HF-I-4", 3), *samples("SC-HF-I-5", 2))


@pytest.mark.parametrize("written", ["SC-HF-I-5", "SC-HF-I-05", "sc-hf-i-5"])
def test_a_patient_is_wholly_for_validation(written):
    split = split_by_patient(TWO_PATIENTS, [written])
    assert split.training == TWO_PATIENTS[:3]
    assert split.validation == TWO_PATIENTS[3:]


def test_an_unknown_patient_is_refused_with_the_known_ones():
    with pytest.raises(
        OptionError, match="no patient SC-N-1 in the data set; it has SC-HF-I-4, SC-HF-I-5"
    ) as caught:
        split_by_patient(TWO_PATIENTS, ["SC-HF-I-5", "SC-N-1"])
    assert caught.value.field == "--validate"


def test_validating_on_every_patient_is_refused():
    with pytest.raises(DatasetError, match="nothing to train on: 0 contours for training, 5 for validation"):
        split_by_patient(TWO_PATIENTS, ["SC-HF-I-4", "SC-HF-I-5"])


def test_validating_on_no_patient_is_refused():
    with pytest.raises(DatasetError, match="nothing to validate on"):
        split_by_patient(TWO_PATIENTS, [])


def test_ten_percent_of_the_labs_260_contours_are_26():
    split = split_by_percent(samples("SC-N-2", 260), 10, seed=1)
    assert (len(split.training), len(split.validation)) == (234, 26)


@pytest.mark.parametrize(
    ("count", "percent", "validation"),
    [(74, 10, 7), (19, 10, 1), (99, 50, 49), (100, 29, 29), (1000, 0.3, 3), (3, 99, 2)],
)
def test_the_share_is_rounded_down_and_exactly(count, percent, validation):
    assert len(split_by_percent(samples("SC-N-2", count), percent, seed=1).validation) == validation


def test_the_two_sides_are_the_whole_each_in_its_order():
    whole = samples("SC-N-2", 40)
    split = split_by_percent(whole, 25, seed=3)
    assert sorted((*split.training, *split.validation), key=lambda sample: sample.number) == whole
    assert list(split.training) == sorted(split.training, key=lambda sample: sample.number)


def test_one_seed_draws_the_same_contours_in_whatever_order_they_come():
    whole = samples("SC-N-2", 40)
    forwards, backwards = (split_by_percent(order, 25, seed=3) for order in (whole, whole[::-1]))
    assert set(forwards.validation) == set(backwards.validation)


def test_another_seed_draws_others():
    first, second = (split_by_percent(samples("SC-N-2", 40), 25, seed=seed) for seed in (1, 2))
    assert first.validation != second.validation


@pytest.mark.parametrize("percent", [0, -1, 100, float("nan")])
def test_a_share_that_is_none_or_all_is_refused(percent):
    with pytest.raises(OptionError) as caught:
        split_by_percent(TWO_PATIENTS, percent, seed=1)
    assert caught.value.field == "--validation-percent"


def test_a_negative_seed_is_refused():
    with pytest.raises(OptionError, match="seed must be 0 or above, got -1"):
        split_by_percent(TWO_PATIENTS, 50, seed=-1)


def test_a_share_of_too_few_contours_is_refused():
    with pytest.raises(
        DatasetError, match="nothing to validate on: 5 contours for training, 0 for validation"
    ):
        split_by_percent(TWO_PATIENTS, 10, seed=1)
