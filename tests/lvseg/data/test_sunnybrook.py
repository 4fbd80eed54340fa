import os
import shutil
from collections import Counter

import numpy as np
import pytest

from lvseg.data.sunnybrook import index_sunnybrook, load, load_all, load_sunnybrook
from lvseg.errors import ContourError, DatasetError, DicomError

TABLE = "PatientID,OriginalID,Gender,Age,Pathology\nSCD0000101,SC-HF-I-01,,,\n"


def index(tree, **options):
    return index_sunnybrook(tree.root / "images", tree.root / "contours", **options)


def names(index):
    return [sample.name for sample in index.samples]


def reasons(index):
    return [problem.reason for problem in index.problems]


# The challenge's layout


def test_a_contour_belongs_to_the_image_of_its_case_and_number(tree):
    image = tree.image("images/challenge_training/SC-HF-I-1/IM-0004-0048.dcm")
    tree.image("images/challenge_training/SC-HF-I-2/IM-0106-0048.dcm")
    inner = tree.contour("SC-HF-I-1", 48)
    outer = tree.contour("SC-HF-I-1", 48, "o")
    (sample,) = index(tree).samples
    assert (sample.image, sample.contour, sample.epicardium) == (image, inner, outer)
    assert (sample.patient, sample.number, sample.name) == ("SC-HF-I-1", 48, "SC-HF-I-1/0048")


def test_a_slice_need_not_have_an_o_contour(tree):
    tree.challenge("SC-HF-I-1", 48)
    assert index(tree).samples[0].epicardium is None


def test_papillary_muscles_are_no_labels(tree):
    tree.challenge("SC-HF-I-1", 48, 59)
    tree.contour("SC-HF-I-1", 48, "p1")
    assert names(index(tree)) == ["SC-HF-I-1/0048", "SC-HF-I-1/0059"]


def test_one_and_two_digits_name_the_same_case(tree):
    tree.image("images/SC-HF-I-1/IM-0004-0048.dcm")
    tree.contour("SC-HF-I-01", 48)
    assert names(index(tree)) == ["SC-HF-I-1/0048"]


def test_samples_come_by_patient_and_number(tree):
    for case, number in (("SC-N-10", 3), ("SC-N-9", 100), ("SC-N-9", 20), ("SC-HF-I-40", 7)):
        tree.challenge(case, number)
    assert names(index(tree)) == ["SC-HF-I-40/0007", "SC-N-9/0020", "SC-N-9/0100", "SC-N-10/0003"]


@pytest.mark.parametrize(
    ("images", "contours"),
    [
        (".", "."),
        ("images", "contours"),
        ("images/SC-N-2", "contours/SC-N-2"),
        ("images/SC-N-2", "contours/SC-N-2/contours-manual/IRCCI-expert"),
    ],
)
def test_any_folder_from_the_whole_to_one_patients_own_will_do(tree, images, contours):
    tree.challenge("SC-N-2", 20, 27)
    assert names(index_sunnybrook(tree.root / images, tree.root / contours)) == ["SC-N-2/0020", "SC-N-2/0027"]


def test_a_case_is_known_by_its_folder_from_within_it(tree, monkeypatch):
    tree.challenge("SC-N-2", 20)
    monkeypatch.chdir(tree.root / "images/SC-N-2")
    assert names(index_sunnybrook(type(tree.root)("."), tree.root / "contours")) == ["SC-N-2/0020"]


def test_the_nearest_folder_decides_the_case(tree):
    image = tree.image("images/study-7/SC-N-2/series-1/IM-0004-0020.dcm")
    tree.contour("SC-N-2", 20)
    assert index(tree).samples[0].image == image


# The Cardiac Atlas Project's layout


def test_the_table_leads_from_a_patients_folder_to_the_case(tree):
    tree.text("scd_patientdata.csv", TABLE)
    image = tree.image("images/SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0003-0048.dcm")
    tree.contour("SC-HF-I-01", 48)
    (sample,) = index_sunnybrook(tree.root, tree.root).samples
    assert (sample.image, sample.name) == (image, "SC-HF-I-1/0048")


def test_the_table_above_a_single_series_folder_is_found(tree):
    tree.text("images/scd_patientdata.csv", TABLE)
    image = tree.image("images/SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0003-0048.dcm")
    tree.contour("SC-HF-I-01", 48)
    assert index_sunnybrook(image.parent, tree.root / "contours").samples[0].image == image


def test_without_its_table_the_atlas_layout_is_refused_with_the_tables_name(tree):
    tree.image("images/SCD_IMAGES_01/SCD0000101/CINESAX_300/IM-0003-0048.dcm")
    tree.contour("SC-HF-I-01", 48)
    with pytest.raises(
        DatasetError, match=r"none of the 1 contours .* the table scd_patientdata\.csv beside"
    ):
        index(tree)


def test_short_axis_folders_win_over_the_others_of_a_patient(tree):
    tree.text("scd_patientdata.csv", TABLE)
    patient = "images/SCD_IMAGES_01/SCD0000101"
    short_axis = tree.image(f"{patient}/CINESAX_300/IM-0003-0048.dcm", value=1)
    tree.image(f"{patient}/CINELAX_301/IM-0004-0048.dcm", value=2)
    tree.image(f"{patient}/PERF_303/IM-0006-0048.dcm", value=3)
    tree.contour("SC-HF-I-01", 48)
    found = index(tree)
    assert [sample.image for sample in found.samples] == [short_axis]
    assert not found.problems


def test_a_long_axis_image_never_stands_in_for_a_missing_short_axis_one(tree):
    tree.text("scd_patientdata.csv", TABLE)
    patient = "images/SCD_IMAGES_01/SCD0000101"
    tree.image(f"{patient}/CINESAX_300/IM-0003-0059.dcm")
    tree.image(f"{patient}/CINELAX_301/IM-0004-0048.dcm")
    for number in (48, 59):
        tree.contour("SC-HF-I-01", number)
    found = index(tree)
    assert names(found) == ["SC-HF-I-1/0059"]
    assert reasons(found) == ["NO_IMAGE"]


def test_of_two_short_axis_folders_the_one_with_the_number_is_taken(tree):
    tree.text("scd_patientdata.csv", TABLE)
    tree.image("images/SCD0000101/CINESAX_300/IM-0003-0047.dcm")
    image = tree.image("images/SCD0000101/CINESAX_1300/IM-0013-0048.dcm")
    tree.contour("SC-HF-I-01", 48)
    assert index(tree).samples[0].image == image


def test_two_short_axis_folders_with_the_number_are_a_problem(tree):
    tree.text("scd_patientdata.csv", TABLE)
    for number in (48, 59):
        tree.image(f"images/SCD0000101/CINESAX_300/IM-0003-{number:04d}.dcm", value=1)
        tree.contour("SC-HF-I-01", number)
    tree.image("images/SCD0000101/CINESAX_1300/IM-0013-0048.dcm", value=2)
    found = index(tree)
    assert names(found) == ["SC-HF-I-1/0059"]
    assert reasons(found) == ["TWO_IMAGES"]
    assert "CINESAX_1300" in found.problems[0].message
    assert "CINESAX_300" in found.problems[0].message


def test_anothers_images_are_not_taken_for_a_case_further_up(tree):
    tree.image("images/SC-N-2/SCD0000901/CINESAX_1/IM-0003-0048.dcm")
    tree.challenge("SC-N-2", 59)
    tree.contour("SC-N-2", 48)
    assert reasons(index(tree)) == ["NO_IMAGE"]


# Problems


def test_a_contour_without_its_image_is_left_out_and_named(tree):
    tree.challenge("SC-N-2", 20)
    lonely = tree.contour("SC-N-2", 27)
    found = index(tree)
    assert names(found) == ["SC-N-2/0020"]
    (problem,) = found.problems
    assert (problem.contour, problem.reason) == (lonely, "NO_IMAGE")
    assert str(lonely) in problem.message
    assert "IM-*-0027.dcm" in problem.message


def test_a_contour_of_a_case_without_images_is_left_out_and_named(tree):
    tree.challenge("SC-N-2", 20)
    tree.contour("SC-N-3", 20)
    (problem,) = index(tree).problems
    assert "no images of SC-N-3" in problem.message


def test_a_contour_below_no_case_is_left_out_and_named(tree):
    tree.challenge("SC-N-2", 20)
    stray = tree.text("contours/IM-0001-0027-icontour-manual.txt", "")
    (problem,) = index(tree).problems
    assert (problem.contour, problem.reason) == (stray, "NO_CASE")


def test_a_contour_with_two_different_images_is_left_out_and_both_are_named(tree):
    tree.challenge("SC-N-2", 20, 27)
    rival = tree.image("images/SC-N-2/IM-0999-0027.dcm", value=5)
    found = index(tree)
    assert names(found) == ["SC-N-2/0020"]
    assert reasons(found) == ["TWO_IMAGES"]
    assert str(rival) in found.problems[0].message


def test_two_copies_of_an_image_are_one(tree):
    tree.challenge("SC-N-2", 20)
    original = tree.root / "images/SC-N-2/IM-0004-0020.dcm"
    (tree.root / "images/copy/SC-N-2").mkdir(parents=True)
    shutil.copy(original, tree.root / "images/copy/SC-N-2")
    found = index(tree)
    assert names(found) == ["SC-N-2/0020"]
    assert not found.problems


def test_a_whole_series_that_ends_before_the_highest_contour_is_not_the_contoured_one(tree):
    tree.challenge("SC-N-2", 2, 5)
    for number in (1, 2, 3):
        tree.image(f"images/SC-N-2/IM-0009-{number:04d}.dcm", value=50 + number)
    found = index(tree)
    assert [sample.image.name for sample in found.samples] == ["IM-0004-0002.dcm", "IM-0004-0005.dcm"]
    assert not found.problems


def test_a_series_that_ends_too_early_is_still_used_where_no_other_reaches_further(tree):
    for number in (1, 2, 3):
        tree.image(f"images/SC-N-2/IM-0009-{number:04d}.dcm")
    for number in (2, 5):
        tree.contour("SC-N-2", number)
    found = index(tree)
    assert names(found) == ["SC-N-2/0002"]
    assert reasons(found) == ["NO_IMAGE"]


def test_two_different_contours_of_one_image_are_left_out_and_both_are_named(tree):
    tree.challenge("SC-N-2", 20, 27)
    rival = tree.text("contours/second/SC-N-2/IM-0001-0027-icontour-manual.txt", "1 1\n2 1\n2 2\n")
    found = index(tree)
    assert names(found) == ["SC-N-2/0020"]
    assert reasons(found) == ["TWO_CONTOURS"]
    assert str(rival) in found.problems[0].message


def test_two_different_o_contours_leave_the_label_usable(tree):
    tree.challenge("SC-N-2", 20)
    tree.contour("SC-N-2", 20, "o")
    tree.text("contours/second/SC-N-2/IM-0001-0020-ocontour-manual.txt", "1 1\n2 1\n2 2\n")
    found = index(tree)
    assert found.samples[0].epicardium is None
    assert reasons(found) == ["TWO_CONTOURS"]


def test_strict_refuses_a_data_set_with_a_problem(tree):
    tree.challenge("SC-N-2", 20)
    tree.contour("SC-N-2", 27)
    with pytest.raises(
        DatasetError, match=r"1 of 2 labels cannot be used, the first: .*0027-icontour"
    ) as caught:
        index(tree, strict=True)
    assert caught.value.reason == "NO_IMAGE"


def test_strict_accepts_a_clean_data_set(tree):
    tree.challenge("SC-N-2", 20)
    assert names(index(tree, strict=True)) == ["SC-N-2/0020"]


def test_a_folder_without_dicom_is_refused(tree):
    tree.text("images/readme.txt", "hello")
    tree.contour("SC-N-2", 20)
    with pytest.raises(DatasetError, match="images holds no DICOM files") as caught:
        index(tree)
    assert caught.value.reason == "NO_DICOM"


def test_a_folder_without_contours_is_refused(tree):
    tree.image("images/SC-N-2/IM-0004-0020.dcm")
    tree.text("contours/readme.txt", "hello")
    with pytest.raises(DatasetError, match="contours holds no contours") as caught:
        index(tree)
    assert caught.value.reason == "NO_CONTOURS"


def test_contours_that_match_nothing_are_refused(tree):
    tree.image("images/SC-N-3/IM-0004-0020.dcm")
    tree.contour("SC-N-2", 20)
    with pytest.raises(DatasetError, match=r"none of the 1 contours below .* matches one image") as caught:
        index(tree)
    assert caught.value.reason == "NOTHING_MATCHES"


def test_a_folder_that_does_not_exist_is_refused(tree):
    tree.challenge("SC-N-2", 20)
    with pytest.raises(DatasetError, match="nowhere: no such folder"):
        index_sunnybrook(tree.root / "nowhere", tree.root)


def test_a_folder_that_may_not_be_read_is_an_error_and_not_left_out(tree):
    if os.geteuid() == 0:
        pytest.skip("root may read every folder")
    tree.challenge("SC-N-2", 20)
    (tree.root / "images/SC-N-2").chmod(0)
    with pytest.raises(PermissionError):
        index(tree)


# Reading


def test_a_labelled_image_is_the_slice_with_its_mask(tree):
    tree.challenge("SC-N-2", 20)
    image = load(index(tree).samples[0])
    np.testing.assert_array_equal(image.slice.pixels, np.arange(80).reshape(8, 10) + 20)
    expected = np.zeros((8, 10), dtype=bool)
    expected[2:6, 2:6] = True
    np.testing.assert_array_equal(image.mask, expected)
    assert image.share == 16 / 80
    assert image.area_mm2 == 3 * 1.5 * 3 * 2.0
    assert (image.patient, image.name) == ("SC-N-2", "SC-N-2/0020")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("2 2\n5 2\n", "TOO_FEW_POINTS"),
        ("2 2\n5 2\n50 50\n", "OUTSIDE_IMAGE"),
        ("2.2 2.2\n2.8 2.2\n2.5 2.8\n", "EMPTY_MASK"),
    ],
)
def test_a_contour_that_gives_no_mask_is_left_out_and_named(tree, text, reason):
    tree.challenge("SC-N-2", 20, 27)
    broken = tree.contour("SC-N-2", 27, text=text)
    loaded = load_all(index(tree).samples)
    assert [image.name for image in loaded.images] == ["SC-N-2/0020"]
    (problem,) = loaded.problems
    assert (problem.contour, problem.reason) == (broken, reason)
    assert str(broken) in problem.message


def test_an_image_that_cannot_be_read_is_left_out_and_named(tree):
    tree.challenge("SC-N-2", 20, 27)
    broken = tree.text("images/SC-N-2/IM-0004-0027.dcm", "no DICOM")
    loaded = load_all(index(tree).samples)
    assert [image.name for image in loaded.images] == ["SC-N-2/0020"]
    (problem,) = loaded.problems
    assert problem.contour.name == "IM-0001-0027-icontour-manual.txt"
    assert str(broken) in problem.message


def test_one_image_alone_raises_what_is_wrong_with_it(tree):
    tree.challenge("SC-N-2", 20)
    tree.text("images/SC-N-2/IM-0004-0020.dcm", "no DICOM")
    with pytest.raises(DicomError):
        load(index(tree).samples[0])


def test_one_contour_alone_raises_what_is_wrong_with_it(tree):
    tree.challenge("SC-N-2", 20)
    tree.contour("SC-N-2", 20, text="one two\n")
    with pytest.raises(ContourError):
        load(index(tree).samples[0])


def test_strict_refuses_a_slice_that_cannot_be_read(tree):
    tree.challenge("SC-N-2", 20, 27)
    tree.contour("SC-N-2", 27, text="")
    with pytest.raises(DatasetError, match="1 of 2 labels cannot be used"):
        load_all(index(tree).samples, strict=True)


def test_a_data_set_of_which_nothing_can_be_read_is_refused(tree):
    tree.challenge("SC-N-2", 20)
    tree.contour("SC-N-2", 20, text="")
    with pytest.raises(DatasetError, match="1 of 1 labels cannot be used"):
        load_all(index(tree).samples)


def test_loading_in_one_go_reports_the_problems_of_both_steps(tree):
    tree.challenge("SC-N-2", 20, 27)
    tree.contour("SC-N-2", 27, text="")
    tree.contour("SC-N-2", 40)
    loaded = load_sunnybrook(tree.root / "images", tree.root / "contours")
    assert [image.name for image in loaded.images] == ["SC-N-2/0020"]
    assert [problem.reason for problem in loaded.problems] == ["NO_IMAGE", "TOO_FEW_POINTS"]


# The outer contour


def test_the_o_contour_comes_with_its_slice(tree):
    tree.challenge("SC-N-2", 20, 27)
    tree.contour("SC-N-2", 20, "o", text="1 1\n6 1\n6 6\n1 6\n")
    first, second = load_all(index(tree).samples).images
    np.testing.assert_array_equal(first.outer, [(1, 1), (6, 1), (6, 6), (1, 6)])
    assert second.outer is None


@pytest.mark.parametrize(
    ("text", "reason"), [("1 1\n6 1\n60 60\n", "OUTSIDE_IMAGE"), ("1 1\n", "TOO_FEW_POINTS")]
)
def test_an_o_contour_that_cannot_be_used_is_named_and_its_slice_stays(tree, text, reason):
    tree.challenge("SC-N-2", 20)
    outer = tree.contour("SC-N-2", 20, "o", text=text)
    loaded = load_all(index(tree).samples)
    assert [(image.name, image.outer) for image in loaded.images] == [("SC-N-2/0020", None)]
    assert [(problem.contour, problem.reason) for problem in loaded.problems] == [(outer, reason)]


def test_strict_refuses_an_o_contour_that_cannot_be_used(tree):
    tree.challenge("SC-N-2", 20)
    tree.contour("SC-N-2", 20, "o", text="1 1\n")
    with pytest.raises(DatasetError, match="1 of 1 labels cannot be used"):
        load_all(index(tree).samples, strict=True)


# The real patients


def test_the_real_patients_give_their_74_labelled_slices(sunnybrook):
    found = index_sunnybrook(sunnybrook, sunnybrook, strict=True)
    counts = Counter(sample.patient for sample in found.samples)
    assert counts == {"SC-HF-I-1": 18, "SC-HF-I-2": 18, "SC-HF-I-4": 20, "SC-HF-I-5": 18}
    assert sum(sample.epicardium is not None for sample in found.samples) == 9 + 9 + 10 + 9


def test_a_part_of_the_real_patients_is_found_in_its_own_folders(sunnybrook):
    part = sunnybrook / "Sunnybrook Cardiac MR Database ContoursPart2"
    found = index_sunnybrook(sunnybrook / "challenge_validation", part, strict=True)
    assert {sample.patient for sample in found.samples} == {"SC-HF-I-5"}
    assert found.samples[0].name == "SC-HF-I-5/0027"


def test_the_real_ventricle_covers_1_98_percent_of_the_pixels(sunnybrook):
    images = load_sunnybrook(sunnybrook, sunnybrook, strict=True).images
    shares = [image.share for image in images]
    assert {image.mask.shape for image in images} == {(256, 256)}
    assert np.mean(shares) == pytest.approx(0.0198, abs=0.00005)
    assert min(shares) == pytest.approx(0.0013, abs=0.00005)
    assert max(shares) == pytest.approx(0.037, abs=0.0005)


def test_the_real_patients_in_the_atlas_layout_are_the_same_slices(sunnybrook, tmp_path):
    challenge = index_sunnybrook(sunnybrook, sunnybrook)
    ids = {
        "SC-HF-I-1": "SCD0000101",
        "SC-HF-I-2": "SCD0000201",
        "SC-HF-I-4": "SCD0000301",
        "SC-HF-I-5": "SCD0000401",
    }
    rows = [f"{patient},{case},Male,60,\n" for case, patient in ids.items()]
    (tmp_path / "scd_patientdata.csv").write_text(
        "PatientID,OriginalID,Gender,Age,Pathology\n" + "".join(rows)
    )
    for sample in challenge.samples:
        series = tmp_path / "SCD_IMAGES_01" / ids[sample.patient] / "CINESAX_300"
        case = sample.patient.replace("I-", "I-0")
        expert = tmp_path / "SCD_ManualContours" / case / "contours-manual" / "IRCCI-expert"
        for folder, source, name in (
            (series, sample.image, f"IM-0003-{sample.number:04d}.dcm"),
            (expert, sample.contour, sample.contour.name),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, folder / name)
    atlas = index_sunnybrook(tmp_path, tmp_path, strict=True)
    assert names(atlas) == names(challenge)
