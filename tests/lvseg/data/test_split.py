import dataclasses
from dataclasses import dataclass

import pytest

from lvseg.data.split import Split, check_patients_apart, split_by_patient, split_by_percent
from lvseg.data.sunnybrook import load_sunnybrook
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
    with pytest.raises(
        DatasetError, match="nothing to train on: 0 labelled slices for training, 5 for validation"
    ):
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
        DatasetError, match="nothing to validate on: 5 labelled slices for training, 0 for validation"
    ):
        split_by_percent(TWO_PATIENTS, 10, seed=1)


@pytest.mark.parametrize("written", ["patient002", "Patient002", "PATIENT002"])
def test_a_patient_of_any_naming_is_found(written):
    whole = (*samples("patient001", 2), *samples("patient002", 1))
    assert split_by_patient(whole, [written]).validation == whole[2:]


def test_of_two_names_that_differ_in_case_alone_the_one_that_is_written_is_taken():
    whole = (*samples("a", 2), *samples("A", 1))
    assert split_by_patient(whole, ["a"]).validation == whole[:2]
    assert split_by_patient(whole, ["A"]).validation == whole[2:]


def test_a_name_that_may_mean_two_patients_is_refused():
    with pytest.raises(OptionError, match="no patient P-1 in the data set; it has p-1, p-01"):
        split_by_patient((*samples("p-1", 2), *samples("p-01", 1)), ["P-1"])


def test_a_slice_on_both_sides_is_refused():
    with pytest.raises(DatasetError, match="SC-HF-I-4/0003 is for training and for validation") as caught:
        Split(TWO_PATIENTS[:3], TWO_PATIENTS[2:])
    assert caught.value.reason == "SLICE_IN_BOTH"


@pytest.fixture
def images(tree):
    """Two images of SC-N-2 and one of SC-N-3, none of which tells its study."""
    tree.challenge("SC-N-2", 20, 27)
    tree.challenge("SC-N-3", 20)
    return load_sunnybrook(tree.root, tree.root).images


def of_study(image, uid):
    return dataclasses.replace(image, slice=dataclasses.replace(image.slice, study_instance_uid=uid))


def test_patients_that_are_apart_are_accepted(images):
    check_patients_apart(Split(images[:2], images[2:]))
    check_patients_apart(Split((of_study(images[0], "1.1"),), (of_study(images[2], "1.2"),)))


def test_a_patient_on_both_sides_is_refused(images):
    with pytest.raises(DatasetError, match=r"SC-N-2 is on both sides .*SC-N-2/0020 .*SC-N-2/0027") as caught:
        check_patients_apart(Split(images[:1], images[1:]))
    assert caught.value.reason == "PATIENT_IN_BOTH"


def test_a_patient_under_two_names_is_known_by_the_study_which_the_message_keeps_to_itself(images):
    split = Split((of_study(images[0], "1.2.77"),), (of_study(images[2], "1.2.77"),))
    with pytest.raises(DatasetError, match="SC-N-2 and SC-N-3 are of one study") as caught:
        check_patients_apart(split)
    assert "1.2.77" not in str(caught.value)


def test_the_real_patients_are_of_different_studies(sunnybrook):
    images = load_sunnybrook(sunnybrook, sunnybrook).images
    held_out = tuple(image for image in images if image.patient == "SC-HF-I-5")
    assert len({image.slice.study_instance_uid for image in images}) == 4
    check_patients_apart(Split(tuple(image for image in images if image not in held_out), held_out))
