import gzip
import sys

import nibabel
import numpy as np
import pytest

from lvseg.data.labelled import load_all
from lvseg.data.sources import index_labels
from lvseg.errors import DatasetError, OptionError

# Voxels [column, row, slice] of ACDC's labels: 1 right ventricle, 2 wall, 3 cavity of the left.
LABELS = np.zeros((7, 5, 3), dtype=np.uint8)
LABELS[2:5, 1:3, 0] = 3
LABELS[1, 1:3, 0] = 2
LABELS[0, 4, 0] = 1
LABELS[3, 3:5, 2] = 3
LABELS[6, 0, 1] = 1
IMAGE = np.arange(105, dtype=np.int16).reshape(7, 5, 3)

CAVITY_1 = np.zeros((5, 7), dtype=bool)
CAVITY_1[1:3, 2:5] = True
CAVITY_3 = np.zeros((5, 7), dtype=bool)
CAVITY_3[3:5, 3] = True

IN_DICOMS_COORDINATES = np.diag((-1.0, -1.0, 1.0, 1.0))


def affine(along, down, across, *, spacing=(2.0, 1.5, 8.0), first=(0.0, 0.0, 0.0)):
    """Return NIfTI's affine of axes and a first voxel in DICOM's patient coordinates."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack((along, down, across), axis=1) * spacing
    matrix[:3, 3] = first
    return IN_DICOMS_COORDINATES @ matrix


LEFT, BACK, HEAD = np.eye(3)
PLAIN = affine(LEFT, BACK, HEAD)


@pytest.fixture
def volume(tmp_path):
    """Return a writer of NIfTI files."""

    def write(path, voxels, matrix=PLAIN, *, units=("mm", "sec"), slope=None):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        image = nibabel.Nifti1Image(voxels, matrix)
        image.header.set_xyzt_units(*units)
        if slope is not None:
            image.header.set_slope_inter(*slope)
        nibabel.save(image, file)
        return file

    return write


@pytest.fixture
def acdc(volume):
    """One phase of a patient as ACDC has it."""
    volume("patient001/patient001_frame01.nii.gz", IMAGE)
    volume("patient001/patient001_frame01_gt.nii.gz", LABELS)


def index(folder, label=3, **options):
    return index_labels(folder, folder, "nifti", label=label, **options)


def load(folder, **options):
    return load_all(index(folder, **options).samples, strict=True).images


def names(found):
    return [sample.name for sample in found.samples]


# Which image


def test_acdcs_pairs_give_the_slices_whose_label_shows_the_cavity(tmp_path, acdc):
    found = index(tmp_path)
    assert names(found) == ["patient001/frame01-s01", "patient001/frame01-s03"]
    assert {sample.patient for sample in found.samples} == {"patient001"}
    assert (found.empty, found.problems) == (1, ())


def test_masks_and_pixels_are_rows_by_columns(tmp_path, acdc):
    first, last = load(tmp_path)
    np.testing.assert_array_equal(first.mask, CAVITY_1)
    np.testing.assert_array_equal(last.mask, CAVITY_3)
    # Voxel [i, j, k] holds 15 i + 3 j + k.
    expected = np.array([[15 * column + 3 * row for column in range(7)] for row in range(5)])
    np.testing.assert_array_equal(first.slice.pixels, expected)
    np.testing.assert_array_equal(last.slice.pixels, expected + 2)
    assert first.slice.pixels.dtype == np.float32
    assert first.contour.max(axis=0).tolist() == [4.5, 2.5]


def test_spacing_and_place_come_from_the_header(tmp_path, volume):
    matrix = affine(LEFT, BACK, HEAD, first=(-10.0, 20.0, 30.0))
    volume("p1.nii.gz", IMAGE, matrix)
    volume("p1_gt.nii.gz", LABELS, matrix)
    slice_ = load(tmp_path)[1].slice
    assert (slice_.pixel_spacing, slice_.slice_spacing_mm) == ((1.5, 2.0), 8.0)
    assert slice_.position_mm == (-10.0, 20.0, 30.0 + 2 * 8.0)
    assert slice_.orientation == (1, 0, 0, 0, 1, 0)
    assert slice_.trigger_time_ms is None


def test_metres_are_taken_for_what_they_are(tmp_path, volume):
    volume("p1.nii.gz", IMAGE, np.diag((-0.002, -0.0015, 0.008, 1)), units=("meter", "sec"))
    volume("p1_gt.nii.gz", LABELS)
    slice_ = load(tmp_path)[0].slice
    assert slice_.pixel_spacing == pytest.approx((1.5, 2.0))
    assert slice_.slice_spacing_mm == pytest.approx(8.0)


def test_nnunets_folders_and_first_channel_are_understood(tmp_path, volume):
    image = volume("Dataset027/imagesTr/patient001_frame01_0000.nii.gz", IMAGE)
    volume("Dataset027/imagesTr/patient001_frame01_0001.nii.gz", IMAGE[::-1])
    volume("Dataset027/labelsTr/patient001_frame01.nii.gz", LABELS)
    found = index(tmp_path)
    assert names(found) == ["patient001/frame01-s01", "patient001/frame01-s03"]
    assert {sample.image for sample in found.samples} == {image}


def test_the_decathlons_folders_are_understood(tmp_path, volume):
    for name in ("la_003", "la_0004"):
        volume(f"imagesTr/{name}.nii", IMAGE)
        volume(f"labelsTr/{name}.nii", LABELS)
    found = index_labels(tmp_path / "imagesTr", tmp_path / "labelsTr", "nifti", label=3)
    assert names(found) == ["la_0004/s01", "la_0004/s03", "la_003/s01", "la_003/s03"]


def test_every_volume_of_a_folder_of_its_own_is_a_label(tmp_path, volume):
    volume("scans/p1.nii.gz", IMAGE)
    volume("drawn/p1.nii.gz", LABELS)
    found = index_labels(tmp_path / "scans", tmp_path / "drawn", "nifti", label=3)
    assert names(found) == ["p1/s01", "p1/s03"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("A0S9V9_sa", "A0S9V9/sa-s01"),
        ("001_SA_ED", "001/SA_ED-s01"),
        ("sub-01_ses-1_bold", "sub-01/ses-1_bold-s01"),
        ("BRATS_017", "BRATS_017/s01"),
        ("Doe/short-axis", "Doe/short-axis-s01"),
        ("heart", "heart/s01"),
    ],
)
def test_the_patient_is_the_name_up_to_its_first_number_or_else_the_folder(tmp_path, volume, path, name):
    volume(f"{path}.nii.gz", IMAGE)
    volume(f"{path}_gt.nii.gz", LABELS)
    assert names(index(tmp_path))[0] == name


def test_slices_come_by_patient_and_plane(tmp_path, volume):
    for name in ("p2_b", "p1_b", "p1_a"):
        volume(f"{name}.nii.gz", IMAGE)
        volume(f"{name}_gt.nii.gz", LABELS)
    assert names(index(tmp_path)) == ["p1/a-s01", "p1/b-s01", "p1/a-s03", "p1/b-s03", "p2/b-s01", "p2/b-s03"]


# Phases, scaling, other numbers of dimensions


def test_the_phases_of_a_volume_are_told_apart_and_timed(tmp_path, volume):
    matrix = PLAIN
    phases = np.stack((IMAGE, IMAGE + 1000), axis=-1)
    labels = np.stack((LABELS, np.roll(LABELS, 1, axis=0)), axis=-1)
    image = nibabel.Nifti1Image(phases, matrix)
    image.header.set_zooms((2.0, 1.5, 8.0, 0.03))
    image.header.set_xyzt_units("mm", "sec")
    nibabel.save(image, tmp_path / "p1.nii.gz")
    volume("p1_gt.nii.gz", labels)
    images = load(tmp_path)
    assert [image.name for image in images] == ["p1/s01-t01", "p1/s03-t01", "p1/s01-t02", "p1/s03-t02"]
    np.testing.assert_array_equal(images[2].mask, np.roll(CAVITY_1, 1, axis=1))
    assert images[2].slice.pixels[0, 0] == 1000
    assert images[2].slice.trigger_time_ms == pytest.approx(30)


def test_a_single_plane_is_a_stack_of_one(tmp_path, volume):
    volume("p1.nii.gz", IMAGE[:, :, 0])
    volume("p1_gt.nii.gz", LABELS[:, :, 0])
    (image,) = load(tmp_path)
    np.testing.assert_array_equal(image.mask, CAVITY_1)


def test_an_axis_of_one_phase_is_no_difference(tmp_path, volume):
    volume("p1.nii.gz", IMAGE[..., np.newaxis])
    volume("p1_gt.nii.gz", LABELS)
    assert names(index(tmp_path)) == ["p1/s01", "p1/s03"]


def test_the_headers_scale_counts_for_image_and_label(tmp_path, volume):
    volume("p1.nii.gz", IMAGE, slope=(0.5, 10))
    file = volume("p1_gt.nii.gz", LABELS)
    stored = bytearray(gzip.decompress(file.read_bytes()))
    stored[112:116] = np.float32(2).tobytes()  # scl_slope: the values are 2, 4 and 6
    file.write_bytes(gzip.compress(stored))
    first, _ = load(tmp_path, label=6)
    np.testing.assert_array_equal(first.mask, CAVITY_1)
    assert first.slice.pixels[1, 0] == 3 * 0.5 + 10


# Which way round

SHORT_AXIS = (np.array((0.8, 0.6, 0.0)), np.array((0.0, 0.0, -1.0)), np.array((-0.6, 0.8, 0.0)))
"""A plane as scanners write it: rows to the left and back, columns to the feet, and then to the base."""


def test_a_plane_as_a_scanner_writes_it_stays_as_it_is(tmp_path, volume):
    volume("p1.nii.gz", IMAGE, affine(*SHORT_AXIS))
    volume("p1_gt.nii.gz", LABELS)
    first, _ = load(tmp_path)
    np.testing.assert_array_equal(first.mask, CAVITY_1)
    assert first.slice.orientation == pytest.approx((0.8, 0.6, 0, 0, 0, -1))


@pytest.mark.parametrize(("columns", "rows"), [(1, -1), (-1, 1), (-1, -1)])
def test_a_plane_that_a_converter_mirrored_or_turned_comes_out_as_it_was(tmp_path, volume, columns, rows):
    along, down, across = SHORT_AXIS
    first = (6 * 2.0 * along if columns < 0 else 0) + (4 * 1.5 * down if rows < 0 else 0) + np.zeros(3)
    matrix = affine(columns * along, rows * down, across, first=first)
    volume("p1.nii.gz", IMAGE[::columns, ::rows], matrix)
    volume("p1_gt.nii.gz", LABELS[::columns, ::rows], matrix)
    image, _ = load(tmp_path)
    np.testing.assert_array_equal(image.mask, CAVITY_1)
    assert image.slice.pixels[1, 0] == IMAGE[0, 1, 0]
    assert image.slice.position_mm == pytest.approx((0, 0, 0), abs=1e-5)
    assert image.slice.orientation == pytest.approx((0.8, 0.6, 0, 0, 0, -1))


def test_without_a_place_in_the_patient_the_voxels_are_taken_as_they_come(tmp_path, volume):
    image = nibabel.Nifti1Image(IMAGE, None)
    image.header.set_zooms((2.0, 1.5, 8.0))
    nibabel.save(image, tmp_path / "p1.nii.gz")
    volume("p1_gt.nii.gz", LABELS)
    first, _ = load(tmp_path)
    np.testing.assert_array_equal(first.mask, CAVITY_1)
    assert (first.slice.position_mm, first.slice.orientation) == (None, None)
    assert first.slice.pixel_spacing == (1.5, 2.0)


# What cannot be used


def test_several_structures_without_a_choice_are_refused_with_their_values(tmp_path, acdc):
    with pytest.raises(
        DatasetError, match=r"holds the values 1, 2, 3; say with --label .*3 in the ACDC"
    ) as caught:
        index(tmp_path, label=None)
    assert caught.value.reason == "SEVERAL_LABELS"


def test_one_structure_needs_no_choice(tmp_path, volume):
    volume("p1.nii.gz", IMAGE)
    volume("p1_gt.nii.gz", (LABELS == 3).astype(np.float32))
    assert names(index(tmp_path, label=None)) == ["p1/s01", "p1/s03"]


def test_a_label_of_another_shape_is_left_out_with_both_shapes(tmp_path, acdc, volume):
    volume("patient002_frame01.nii.gz", IMAGE)
    wrong = volume("patient002_frame01_gt.nii.gz", LABELS[:, :, :2])
    found = index(tmp_path)
    assert names(found) == ["patient001/frame01-s01", "patient001/frame01-s03"]
    (problem,) = found.problems
    assert (problem.contour, problem.reason) == (wrong, "OTHER_SHAPE")
    assert "7 x 5 x 2 x 1 pixels, expected 7 x 5 x 3 x 1" in problem.message


def test_a_label_without_its_image_is_left_out_and_named(tmp_path, acdc, volume):
    lonely = volume("patient002_frame01_gt.nii.gz", LABELS)
    (problem,) = index(tmp_path).problems
    assert (problem.contour, problem.reason) == (lonely, "NO_IMAGE")
    assert "no image patient002_frame01.nii.gz or patient002_frame01_0000.nii.gz below" in problem.message


def test_an_image_without_a_label_is_no_problem(tmp_path, acdc, volume):
    volume("patient001/patient001_4d.nii.gz", IMAGE)
    assert index(tmp_path, strict=True).problems == ()


def test_a_label_of_probabilities_is_left_out(tmp_path, acdc, volume):
    volume("p2.nii.gz", IMAGE)
    volume("p2_gt.nii.gz", LABELS / np.float32(4))
    assert [problem.reason for problem in index(tmp_path).problems] == ["NOT_A_LABEL"]


@pytest.mark.parametrize("which", ["p2.nii.gz", "p2_gt.nii.gz"])
@pytest.mark.parametrize("kept", [-60, 200, 0])
def test_a_file_that_is_cut_off_is_left_out_and_named(tmp_path, acdc, volume, which, kept):
    noise = np.random.default_rng(1).integers(0, 4, (40, 40, 3)).astype(np.uint8)
    noise[0, 0] = 3
    volume("p2.nii.gz", noise)
    volume("p2_gt.nii.gz", noise)
    broken = tmp_path / which
    broken.write_bytes(broken.read_bytes()[:kept])
    found = index(tmp_path)
    problems = [*found.problems, *load_all(found.samples).problems]
    assert {problem.reason for problem in problems} == {"NOT_NIFTI"}
    assert all(problem.message.startswith(str(broken)) for problem in problems)
    assert all(problem.contour == tmp_path / "p2_gt.nii.gz" for problem in problems)


def test_pixels_that_are_no_numbers_are_left_out(tmp_path, acdc, volume):
    voxels = IMAGE.astype(np.float32)
    voxels[3, 3, 2] = np.nan
    volume("p2.nii.gz", voxels)
    volume("p2_gt.nii.gz", LABELS)
    loaded = load_all(index(tmp_path).samples)
    assert "p2/s01" in [image.name for image in loaded.images]
    assert [problem.reason for problem in loaded.problems] == ["NOT_FINITE"]


def test_colours_are_left_out(tmp_path, acdc, volume):
    volume("p2.nii.gz", np.zeros((7, 5, 3), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")]))
    volume("p2_gt.nii.gz", LABELS)
    loaded = load_all(index(tmp_path).samples)
    assert {problem.reason for problem in loaded.problems} == {"UNSUPPORTED_PIXEL_FORMAT"}


def test_a_file_that_is_no_nifti_is_left_out_and_named(tmp_path, acdc, volume):
    broken = volume("p2.nii.gz", IMAGE)
    volume("p2_gt.nii.gz", LABELS)
    broken.write_text("no NIfTI")
    (problem,) = index(tmp_path).problems
    assert (problem.reason, problem.message.startswith(str(broken))) == ("NOT_NIFTI", True)


@pytest.mark.parametrize(
    ("files", "reason"), [([], "NO_LABELS"), (["p1"], "NO_LABELS"), (["p1_gt"], "NO_IMAGES")]
)
def test_a_folder_without_pairs_is_refused(tmp_path, volume, files, reason):
    for name in files:
        volume(f"{name}.nii.gz", LABELS)
    with pytest.raises(DatasetError) as caught:
        index(tmp_path)
    assert caught.value.reason == reason


def test_without_nibabel_one_line_says_how_to_install_it(tmp_path, acdc, monkeypatch):
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(OptionError, match=r"nibabel.* not installed; run: pip install 'lvseg\[train\]'"):
        index(tmp_path)
