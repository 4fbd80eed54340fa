import json
import re
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pydicom
import pydicom.config
import pytest
from scipy.ndimage import map_coordinates

from lvseg.contour import contour_area_mm2, contour_to_mask, read_contour
from lvseg.data.phantom import CONTOURS, IMAGES, PhantomPatient, write_phantoms
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.dicom import read_slice
from lvseg.errors import OptionError

SLICES, PHASES, SIZE = 6, 8, 128
ES, ED = 3, 8  # a third into the beat, and the last phase
NAMES = ("SC-PH-01", "SC-PH-02", "SC-PH-03")
SMALL = {"patients": 1, "slices": 3, "phases": 4, "size": 64}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[PhantomPatient, ...]]:
    folder = tmp_path_factory.mktemp("phantoms") / "phantom"
    return folder, write_phantoms(folder, len(NAMES), slices=SLICES, phases=PHASES, size=SIZE)


@pytest.fixture(scope="module")
def folder(phantoms: tuple[Path, tuple[PhantomPatient, ...]]) -> Path:
    return phantoms[0]


@pytest.fixture(scope="module")
def patients(phantoms: tuple[Path, tuple[PhantomPatient, ...]]) -> tuple[PhantomPatient, ...]:
    return phantoms[1]


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def images(folder: Path, name: str) -> dict[int, Path]:
    return {int(path.stem[-4:]): path for path in sorted((folder / IMAGES / name).iterdir())}


def contours(folder: Path, name: str, kind: str) -> dict[int, Path]:
    expert = folder / CONTOURS / "TrainingDataContours" / name / "contours-manual" / "IRCCI-expert"
    pattern = re.compile(rf"IM-0001-(\d{{4}})-{kind}contour-manual\.txt")
    found = ((pattern.fullmatch(path.name), path) for path in sorted(expert.iterdir()))
    return {int(match[1]): path for match, path in found if match}


def phase(number: int) -> int:
    return (number - 1) % PHASES + 1


def disc_volume_ml(folder: Path, patient: PhantomPatient, at: int) -> tuple[float, float]:
    """Return the volume as the sum of contours, and the largest area in mm²."""
    spacing = (patient.pixel_spacing_mm, patient.pixel_spacing_mm)
    drawn = contours(folder, patient.name, "i").items()
    areas = [contour_area_mm2(read_contour(path), spacing) for number, path in drawn if phase(number) == at]
    return sum(areas) * patient.slice_spacing_mm / 1000, max(areas)


# What is written


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "a", seed=5, **SMALL)
    write_phantoms(tmp_path / "b", seed=5, **SMALL)

    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_seed_gives_another_patient(tmp_path: Path) -> None:
    first, second = (write_phantoms(tmp_path / str(seed), seed=seed, **SMALL)[0] for seed in (5, 6))

    assert first.edv_ml != second.edv_ml


def test_a_patient_is_the_same_however_many_there_are(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "one", **SMALL)
    write_phantoms(tmp_path / "two", **{**SMALL, "patients": 2})

    one, two = contents(tmp_path / "one" / IMAGES), contents(tmp_path / "two" / IMAGES)
    assert {path: two[path] for path in one} == one


def test_all_phases_adds_images_and_changes_none(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "some", **SMALL)
    write_phantoms(tmp_path / "all", all_phases=True, **SMALL)

    some, everything = contents(tmp_path / "some" / IMAGES), contents(tmp_path / "all" / IMAGES)
    assert {path: everything[path] for path in some} == some
    assert sorted(int(path[-8:-4]) for path in everything) == list(range(1, 3 * 4 + 1))
    assert contents(tmp_path / "some" / CONTOURS) == contents(tmp_path / "all" / CONTOURS)


@pytest.mark.parametrize("name", NAMES)
def test_contours_are_at_end_diastole_and_end_systole_and_of_the_epicardium_at_end_diastole(
    folder: Path, name: str
) -> None:
    inner, outer = contours(folder, name, "i"), contours(folder, name, "o")

    assert {phase(number) for number in inner} == {ES, ED}
    assert set(outer) == {number for number in inner if phase(number) == ED}
    assert len(outer) >= SLICES - 1


@pytest.mark.parametrize("name", NAMES)
def test_only_images_with_a_contour_are_written_and_all_of_them(folder: Path, name: str) -> None:
    assert set(images(folder, name)) == set(contours(folder, name, "i"))


def test_the_index_of_the_challenge_layout_finds_every_contour_and_no_problem(
    folder: Path, patients: tuple[PhantomPatient, ...]
) -> None:
    index = index_sunnybrook(folder / IMAGES, folder / CONTOURS)

    assert index.problems == ()
    assert len(index.samples) == sum(patient.images for patient in patients)


def test_the_table_holds_the_seed_the_options_and_every_patient(
    folder: Path, patients: tuple[PhantomPatient, ...]
) -> None:
    table = json.loads((folder / "phantom.json").read_text())

    assert (table["seed"], table["slices"], table["phases"], table["size"]) == (1, SLICES, PHASES, SIZE)
    assert table["patients"] == [asdict(patient) for patient in patients]


# The labels


@pytest.mark.parametrize("name", NAMES)
def test_points_of_a_contour_are_at_half_pixel_steps_and_closer_than_a_pixel(folder: Path, name: str) -> None:
    for path in (*contours(folder, name, "i").values(), *contours(folder, name, "o").values()):
        points = read_contour(path)
        assert np.array_equal(points * 2, np.rint(points * 2))
        assert np.abs(points - np.roll(points, 1, axis=0)).max() <= 0.5
        assert re.fullmatch(r"(\d+\.[05]0 \d+\.[05]0\n)+", path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_the_left_ventricle_covers_a_tenth_to_four_percent_of_an_image(folder: Path, name: str) -> None:
    shares = [
        contour_to_mask(read_contour(path), (SIZE, SIZE)).mean()
        for path in contours(folder, name, "i").values()
    ]

    assert min(shares) > 0.0009
    assert max(shares) < 0.04


@pytest.mark.parametrize("name", NAMES)
def test_blood_inside_the_contour_is_brighter_than_the_wall_around_it(folder: Path, name: str) -> None:
    for number, outer in contours(folder, name, "o").items():
        pixels = read_slice(images(folder, name)[number]).pixels
        cavity = contour_to_mask(read_contour(contours(folder, name, "i")[number]), pixels.shape)
        wall = contour_to_mask(read_contour(outer), pixels.shape) & ~cavity
        assert pixels[cavity].mean() > 1.3 * pixels[wall].mean()


@pytest.mark.parametrize("axis", [0, 1], ids=["x", "y"])
def test_the_edge_of_the_blood_is_where_the_contour_is(folder: Path, axis: int) -> None:
    shifts = np.arange(-1.0, 1.01, 0.25)
    contrast = np.zeros(len(shifts))
    for name in NAMES:
        for number, path in contours(folder, name, "i").items():
            pixels, points = read_slice(images(folder, name)[number]).pixels, read_contour(path)
            outwards = points - points.mean(axis=0)
            outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
            for index, shift in enumerate(shifts):
                moved = points + np.eye(2)[axis] * shift
                inner, outer = (
                    map_coordinates(pixels, (moved + side * outwards)[:, ::-1].T, order=1) for side in (-1, 1)
                )
                contrast[index] += (inner - outer).mean() / pixels.max()

    assert abs(shifts[contrast.argmax()]) <= 0.25


@pytest.mark.parametrize("name", NAMES)
def test_the_cavity_of_a_slice_is_larger_at_end_diastole(folder: Path, name: str) -> None:
    inner = {
        number: contour_area_mm2(read_contour(path), (1.0, 1.0))
        for number, path in contours(folder, name, "i").items()
    }

    for number, area in inner.items():
        if phase(number) == ES:
            assert area < inner[number + ED - ES]


@pytest.mark.parametrize("name", NAMES)
def test_the_ventricle_tapers_to_the_apex(folder: Path, name: str) -> None:
    areas = [
        contour_area_mm2(read_contour(path), (1.0, 1.0))
        for _, path in sorted(contours(folder, name, "o").items())
    ]

    assert areas[-1] < areas[-2] < areas[1]


def test_volumes_and_ejection_fraction_agree_with_the_sum_of_discs(tmp_path: Path) -> None:
    # A sum of discs misses or adds at most half a slice where the cavity ends in an area, at the mitral
    # ring; elsewhere, and at the apex, where it ends in a point, the errors are of second order. Cavities
    # below a thousandth of the image are not drawn, which 1% of the volume covers together with the rounding.
    written = write_phantoms(tmp_path / "phantom", 3, slices=20, phases=8, size=64)
    for patient in written:
        edv, widest = disc_volume_ml(tmp_path / "phantom", patient, ED)
        esv, narrow = disc_volume_ml(tmp_path / "phantom", patient, ES)
        edv_error = patient.slice_spacing_mm / 2 * widest / 1000 + 0.01 * edv
        esv_error = patient.slice_spacing_mm / 2 * narrow / 1000 + 0.01 * edv

        assert edv == pytest.approx(patient.edv_ml, abs=edv_error)
        assert esv == pytest.approx(patient.esv_ml, abs=esv_error)
        ef_error = 100 * (esv_error / patient.edv_ml + patient.esv_ml * edv_error / patient.edv_ml**2)
        assert 100 * (1 - esv / edv) == pytest.approx(patient.ef_percent, abs=ef_error)


def test_hearts_are_healthy_failing_and_hypertrophic_in_turn(patients: tuple[PhantomPatient, ...]) -> None:
    healthy, failing, hypertrophic = patients

    assert [patient.kind for patient in patients] == ["healthy", "failing", "hypertrophic"]
    assert failing.ef_percent < 40 < 55 <= healthy.ef_percent < hypertrophic.ef_percent + 10
    assert hypertrophic.edv_ml < healthy.edv_ml < failing.edv_ml
    assert failing.wall_mm < hypertrophic.wall_mm


# The images as DICOM


def test_identifiers_are_valid_and_their_own(folder: Path) -> None:
    datasets = [pydicom.dcmread(path) for name in NAMES for path in images(folder, name).values()]
    valid = re.compile(r"2\.25\.[1-9]\d*")  # PS3.5, B.2: a UUID as one decimal number, without leading zeros
    for dataset in datasets:
        for keyword in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID"):
            assert valid.fullmatch(dataset[keyword].value)
            assert len(dataset[keyword].value) <= 64
        assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID

    assert len({dataset.SOPInstanceUID for dataset in datasets}) == len(datasets)
    assert len({(dataset.PatientID, dataset.StudyInstanceUID) for dataset in datasets}) == len(NAMES)
    assert len({dataset.SeriesInstanceUID for dataset in datasets}) == len(NAMES)


def test_every_element_is_valid_for_its_value_representation(folder: Path) -> None:
    with pydicom.config.strict_reading():  # reading an invalid value raises
        for path in images(folder, NAMES[0]).values():
            assert all(element.VR != "UN" for element in pydicom.dcmread(path).iterall())


def test_an_image_has_what_the_mr_image_iod_requires(folder: Path) -> None:
    # Type 1 and type 2 of the mandatory modules, PS3.3 A.4; type 2 may be empty but not absent.
    filled = """SOPClassUID SOPInstanceUID Modality StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID
        ImageType ScanningSequence SequenceVariant MRAcquisitionType PixelSpacing ImagePositionPatient
        ImageOrientationPatient SamplesPerPixel PhotometricInterpretation Rows Columns BitsAllocated BitsStored
        HighBit PixelRepresentation PixelData"""
    present = """PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName
        StudyID AccessionNumber SeriesNumber PositionReferenceIndicator Manufacturer InstanceNumber
        SliceThickness ScanOptions RepetitionTime EchoTime EchoTrainLength"""
    dataset = pydicom.dcmread(images(folder, NAMES[0])[ED])

    assert [
        keyword for keyword in filled.split() if not dataset.get(keyword) and dataset.get(keyword) != 0
    ] == []
    assert [keyword for keyword in present.split() if keyword not in dataset] == []
    assert dataset.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert dataset.SOPClassUID == pydicom.uid.MRImageStorage


def test_dciodvfy_finds_no_fault(folder: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    path = images(folder, NAMES[0])[ED]
    report = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False).stderr

    assert "Error" not in report
    assert "Warning" not in report


def test_pixels_are_sixteen_bits_unsigned_of_which_twelve_are_stored(folder: Path) -> None:
    dataset = pydicom.dcmread(images(folder, NAMES[1])[ED])

    assert (dataset.BitsAllocated, dataset.BitsStored, dataset.PixelRepresentation) == (16, 12, 0)
    assert dataset.pixel_array.shape == (SIZE, SIZE)
    assert 200 < dataset.pixel_array.max() <= 4095


@pytest.mark.parametrize("name", NAMES)
def test_slices_lie_in_a_straight_stack_at_the_spacing_that_the_header_states(
    folder: Path, name: str
) -> None:
    stack = [pydicom.dcmread(path) for number, path in images(folder, name).items() if phase(number) == ED]
    row, column = np.array(stack[0].ImageOrientationPatient, dtype=float).reshape(2, 3)
    positions = np.array([dataset.ImagePositionPatient for dataset in stack], dtype=float)
    steps = np.diff(positions, axis=0)

    assert np.linalg.norm(row) == pytest.approx(1.0, abs=1e-6)
    assert row @ column == pytest.approx(0.0, abs=1e-6)
    # The stack goes from base to apex: against the normal that row and column span.
    assert steps @ -np.cross(row, column) == pytest.approx(float(stack[0].SpacingBetweenSlices), abs=1e-3)
    assert np.linalg.norm(steps, axis=1) == pytest.approx(float(stack[0].SpacingBetweenSlices), abs=1e-3)


def test_lvseg_reads_the_spacing_and_the_phase(folder: Path, patients: tuple[PhantomPatient, ...]) -> None:
    patient, slices = (
        patients[0],
        {number: read_slice(path) for number, path in images(folder, NAMES[0]).items()},
    )
    last = slices[ED]

    assert last.pixel_spacing == pytest.approx((patient.pixel_spacing_mm, patient.pixel_spacing_mm))
    assert last.instance_number == ED
    beat_ms = 60_000 / patient.heart_rate
    assert last.trigger_time_ms == pytest.approx((ED - 1) / PHASES * beat_ms, abs=0.01)


def test_pixel_spacing_is_that_of_a_heart_scan_at_the_usual_size(tmp_path: Path) -> None:
    (patient,) = write_phantoms(tmp_path / "phantom", 1, slices=1, phases=2)

    assert 1.2 <= patient.pixel_spacing_mm <= 1.5


# Refusals


@pytest.mark.parametrize(
    ("option", "value"),
    [("patients", 0), ("patients", 100), ("slices", 0), ("phases", 1), ("size", 32), ("seed", -1)],
)
def test_a_number_out_of_range_is_refused_by_name(tmp_path: Path, option: str, value: int) -> None:
    with pytest.raises(OptionError, match=f"--{option} {value}"):
        write_phantoms(tmp_path / "phantom", **{**SMALL, option: value})

    assert not list(tmp_path.iterdir())


def test_a_former_data_set_is_replaced_only_when_asked(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "phantom", seed=1, **SMALL)
    former = contents(tmp_path / "phantom")

    with pytest.raises(OptionError, match="--overwrite"):
        write_phantoms(tmp_path / "phantom", seed=2, **SMALL)
    assert contents(tmp_path / "phantom") == former

    write_phantoms(tmp_path / "phantom", seed=2, overwrite=True, **SMALL)
    assert contents(tmp_path / "phantom") != former


def test_somebody_elses_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")

    with pytest.raises(OptionError, match=r"phantom\.json"):
        write_phantoms(tmp_path, overwrite=True, **SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
