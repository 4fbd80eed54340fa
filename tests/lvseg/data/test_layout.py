import pytest

from lvseg.data.layout import case_name, case_order, patient_table
from lvseg.errors import DatasetError

HEADER = "PatientID,OriginalID,Gender,Age,Pathology\n"


@pytest.mark.parametrize("written", ["SC-HF-I-1", "SC-HF-I-01", "sc-hf-i-001", " SC-HF-I-1 "])
def test_a_case_has_one_name_however_its_number_is_written(written):
    assert case_name(written) == "SC-HF-I-1"


def test_the_number_of_a_case_keeps_its_last_zero():
    assert case_name("SC-HYP-40") == "SC-HYP-40"


def test_cases_sort_by_number_and_not_by_digit():
    assert sorted(["SC-N-10", "SC-HF-I-5", "SC-N-9"], key=case_order) == ["SC-HF-I-5", "SC-N-9", "SC-N-10"]


def test_the_table_maps_patients_to_normalised_cases(tree):
    table = tree.text(
        "scd_patientdata.csv", f"\ufeff{HEADER}SCD0000101, SC-HF-I-01 ,Male,43,x\nSCD0000201,SC-N-2,,,\n"
    )
    assert patient_table([], [table]) == {"SCD0000101": "SC-HF-I-1", "SCD0000201": "SC-N-2"}


def test_the_table_is_found_in_a_folder_above_the_images(tree):
    tree.text("scd_patientdata.csv", f"{HEADER}SCD0000101,SC-HF-I-1,,,\n")
    assert patient_table([tree.root / "SCD_IMAGES_01/SCD0000101"], []) == {"SCD0000101": "SC-HF-I-1"}


def test_there_need_not_be_a_table(tmp_path):
    assert patient_table([tmp_path], []) == {}


def test_a_table_without_its_columns_is_refused(tree):
    table = tree.text("scd_patientdata.csv", "PatientID;OriginalID\n")
    with pytest.raises(DatasetError, match=r"scd_patientdata\.csv has no column OriginalID") as caught:
        patient_table([], [table])
    assert caught.value.reason == "BAD_PATIENT_TABLE"


def test_a_table_that_gives_a_patient_two_cases_is_refused(tree):
    table = tree.text("scd_patientdata.csv", f"{HEADER}SCD0000101,SC-N-2,,,\nSCD0000101,SC-N-3,,,\n")
    with pytest.raises(DatasetError, match="SCD0000101 is SC-N-3, but was SC-N-2"):
        patient_table([], [table])
