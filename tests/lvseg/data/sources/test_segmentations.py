import copy

import highdicom
import numpy as np
import pydicom
import pytest
from click.testing import CliRunner
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    MRImageStorage,
    RLELossless,
    generate_uid,
)

from lvseg.data.cli import main
from lvseg.data.labelled import load_all
from lvseg.data.sources import index_labels
from lvseg.errors import DatasetError

CAVITY = ("Left ventricle", Code("87878005", "SCT", "Left ventricle"))
WALL = ("Left ventricular wall", Code("74281007", "SCT", "Myocardium"))
RIGHT = ("RV", Code("53085002", "SCT", "Right ventricle"))

CAVITIES = np.zeros((3, 5, 7), dtype=bool)
CAVITIES[0, 1:3, 1:4] = True
CAVITIES[1, 2:4, 2:6] = True
CAVITIES[2, 4, 6] = True
WALLS = np.zeros_like(CAVITIES)
WALLS[:2, 0, :] = True


class Study:
    """Writes images of 5 x 7 pixels, and SEG objects by highdicom."""

    def __init__(self, root):
        self.root = root

    def image(self, path, *, frames=None):
        data = Dataset()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = MRImageStorage if frames is None else EnhancedMRImageStorage
        data.SOPInstanceUID = generate_uid()
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2", "1.2.3", "1.2.9"
        for keyword in ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyID", "StudyDate"):
            setattr(data, keyword, "")
        for keyword in ("StudyTime", "AccessionNumber", "ReferringPhysicianName"):
            setattr(data, keyword, "")
        data.Modality, data.InstanceNumber = "MR", 1
        data.Rows, data.Columns = 5, 7
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 0
        data.PixelSpacing, data.SliceThickness = [1.5, 2.0], 8
        data.ImagePositionPatient = [0.0, 0.0, 8.0 * len(list(self.root.rglob("*.dcm")))]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        if frames is not None:
            data.NumberOfFrames = frames
        data.PixelData = np.arange(35 * (frames or 1), dtype="<u2").tobytes()
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(file, enforce_file_format=True)
        return file

    def segmentation(self, path, images, *masks, named=(CAVITY,), kind="BINARY", compressed=False, **options):
        """Write a SEG object: a mask (frames, rows, columns) for each of ``named``."""
        manual = highdicom.seg.SegmentAlgorithmTypeValues.MANUAL
        structure = Code("91723000", "SCT", "Anatomical structure")
        segments = [
            highdicom.seg.SegmentDescription(number, label, structure, code, manual)
            for number, (label, code) in enumerate(named, start=1)
        ]
        pixels = np.stack(masks, axis=-1)
        data = highdicom.seg.Segmentation(
            [pydicom.dcmread(image) for image in images],
            pixels.astype(np.uint8) if pixels.dtype == bool else pixels,
            kind,
            segments,
            generate_uid(),
            1,
            generate_uid(),
            1,
            "maker",
            "model",
            "1",
            "serial",
            **options,
        )
        if compressed:
            data.compress(RLELossless, encoding_plugin="pydicom")
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        data.save_as(file, enforce_file_format=True)
        return file

    def index(self, **options):
        return index_labels(self.root, self.root, "seg", **options)

    def masks(self, **options):
        """Return the mask of each slice by its name."""
        return {
            image.name: image.mask for image in load_all(self.index(**options).samples, strict=True).images
        }


def change(file, edit):
    data = pydicom.dcmread(file)
    edit(data)
    data.save_as(file)


@pytest.fixture
def study(tmp_path):
    return Study(tmp_path)


@pytest.fixture
def images(study):
    """Three images whose names do not tell that the SEG object goes with them."""
    return [study.image(f"A/cine/{name}.dcm") for name in ("x1", "x2", "x3")]


def expect(masks, expected):
    assert masks.keys() == expected.keys()
    for name, mask in expected.items():
        np.testing.assert_array_equal(masks[name], mask)


THREE = {"A/cine/x1": CAVITIES[0], "A/cine/x2": CAVITIES[1], "A/cine/x3": CAVITIES[2]}


@pytest.mark.parametrize(
    ("kind", "compressed"),
    [("BINARY", False), ("FRACTIONAL", False), ("FRACTIONAL", True), ("LABELMAP", False), ("LABELMAP", True)],
)
def test_each_frame_belongs_to_the_image_that_it_names(study, images, kind, compressed):
    study.segmentation("A/seg.dcm", images, CAVITIES, kind=kind, compressed=compressed)
    expect(study.masks(), THREE)


def test_a_labelled_image_is_the_slice_with_the_segment(study, images):
    label = study.segmentation("A/seg.dcm", images, CAVITIES)
    image = load_all(study.index().samples).images[1]
    assert (image.patient, image.sample.number) == ("A", 2)
    assert (image.sample.image, image.sample.label) == (images[1], label)
    np.testing.assert_array_equal(image.slice.pixels, np.arange(35).reshape(5, 7))
    assert image.slice.pixel_spacing == (1.5, 2.0)
    assert image.contour.max(axis=0).tolist() == [5.5, 3.5]


def test_images_and_objects_may_lie_in_folders_of_their_own(study, tmp_path):
    images = [Study(tmp_path / "images").image(f"A/x{number}.dcm") for number in (1, 2, 3)]
    study.segmentation("labels/anything/object", images, CAVITIES)
    found = index_labels(tmp_path / "images", tmp_path / "labels", "seg")
    assert [sample.name for sample in found.samples] == ["A/x1", "A/x2", "A/x3"]


def test_the_ventricle_is_the_segment_that_says_so_and_is_not_its_wall(study, images):
    study.segmentation("A/seg.dcm", images, WALLS, CAVITIES, WALLS, named=(RIGHT, CAVITY, WALL))
    expect(study.masks(), THREE)


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP"])
def test_a_segment_is_chosen_by_its_number(study, images, kind):
    study.segmentation("A/seg.dcm", images, CAVITIES, WALLS, named=(CAVITY, WALL), kind=kind)
    expect(study.masks(label=2), {"A/cine/x1": WALLS[0], "A/cine/x2": WALLS[1]})


def test_a_code_names_the_ventricle_where_the_label_does_not(study, images):
    study.segmentation("A/seg.dcm", images, WALLS, CAVITIES, named=(RIGHT, ("blood", CAVITY[1])))
    expect(study.masks(), THREE)


def test_a_pixel_that_is_half_inside_is_inside(study, images):
    share = np.zeros((3, 5, 7))
    share[0, 0, :4] = 0.2, 0.49, 0.51, 1.0
    study.segmentation("A/seg.dcm", images, share, kind="FRACTIONAL")
    expected = np.zeros((5, 7), dtype=bool)
    expected[0, 2:4] = True
    expect(study.masks(), {"A/cine/x1": expected})


def test_frames_that_mark_nothing_are_counted(study, images):
    masks = CAVITIES.copy()
    masks[1] = False
    study.segmentation("A/seg.dcm", images, masks, omit_empty_frames=False)
    found = study.index()
    assert ([sample.name for sample in found.samples], found.empty) == (["A/cine/x1", "A/cine/x3"], 1)


def test_a_frame_of_a_multi_frame_image_is_found_by_its_number(study, images):
    label = study.segmentation("A/seg.dcm", images, CAVITIES)
    several = study.image("A/cine/y.dcm", frames=3)
    uid = pydicom.dcmread(several).SOPInstanceUID

    def refer_to_frame_2(data):
        source = data.PerFrameFunctionalGroupsSequence[1].DerivationImageSequence[0].SourceImageSequence[0]
        source.ReferencedSOPInstanceUID, source.ReferencedFrameNumber = uid, 2

    change(label, refer_to_frame_2)
    (image,) = [image for image in load_all(study.index().samples).images if image.sample.image == several]
    assert image.name == "A/cine/y-f02"
    np.testing.assert_array_equal(image.mask, CAVITIES[1])
    assert image.slice.pixels[0, 0] == 35


# What cannot be used


@pytest.mark.parametrize("named", [(RIGHT, WALL), (CAVITY, ("Left ventricle, other reader", CAVITY[1]))])
def test_an_object_without_one_ventricle_is_refused_with_its_segments(study, images, named):
    study.segmentation("A/seg.dcm", images, CAVITIES, WALLS, named=named)
    with pytest.raises(DatasetError, match="expected one; choose one of 1, 2 with --label"):
        study.index()


def test_a_segment_that_is_not_there_is_refused_with_those_that_are(study, images):
    study.segmentation("A/seg.dcm", images, CAVITIES, WALLS, named=(CAVITY, WALL))
    with pytest.raises(DatasetError, match="no segment 3, expected one of 1, 2"):
        study.index(label=3)


def test_a_frame_whose_image_is_missing_is_left_out_and_named(study, images):
    label = study.segmentation("A/seg.dcm", images, CAVITIES)
    images[1].unlink()
    found = study.index()
    assert [sample.name for sample in found.samples] == ["A/cine/x1", "A/cine/x3"]
    (problem,) = found.problems
    assert (problem.contour, problem.reason) == (label, "NO_IMAGE")
    assert "frame 2: the image that it was drawn on is not below" in problem.message


def test_a_frame_that_names_no_image_is_left_out_and_named(study, images):
    label = study.segmentation("A/seg.dcm", images, CAVITIES)

    def forget(data):
        del data.PerFrameFunctionalGroupsSequence[2].DerivationImageSequence

    change(label, forget)
    found = study.index()
    assert [problem.reason for problem in found.problems] == ["NO_REFERENCE"]
    assert "seg.dcm: frame 3 does not name" in found.problems[0].message


def test_two_frames_of_one_image_are_left_out(study, images):
    label = study.segmentation("A/seg.dcm", images, CAVITIES)

    def point_to_the_first(data):  # of the frames, which highdicom writes from the last image on
        groups = data.PerFrameFunctionalGroupsSequence
        groups[1].DerivationImageSequence = copy.deepcopy(groups[0].DerivationImageSequence)

    change(label, point_to_the_first)
    found = study.index()
    assert [sample.name for sample in found.samples] == ["A/cine/x1"]
    assert [problem.reason for problem in found.problems] == ["TWO_LABELS"]


def test_two_objects_of_one_image_are_left_out_and_both_are_named(study, images):
    study.segmentation("A/seg.dcm", images, CAVITIES)
    second = study.segmentation("A/seg-2.dcm", images[:1], CAVITIES[:1])
    found = study.index()
    assert [sample.name for sample in found.samples] == ["A/cine/x2", "A/cine/x3"]
    assert str(second) in found.problems[0].message


def test_a_segment_of_another_shape_is_left_out_with_both_shapes(study, images):
    study.segmentation("A/seg.dcm", images, CAVITIES)

    def crop(data):
        data.Rows, data.PixelData = 4, data.PixelData[: 2 * 4 * 7]

    change(images[0], crop)
    loaded = load_all(study.index().samples)
    assert [image.name for image in loaded.images] == ["A/cine/x2", "A/cine/x3"]
    assert "5 x 7 pixels, expected 4 x 7" in loaded.problems[0].message


def test_an_object_that_cannot_be_decoded_is_left_out_and_named(study, images):
    study.segmentation("A/seg.dcm", images, CAVITIES)
    broken = study.segmentation("A/broken.dcm", images, CAVITIES)

    def forget(data):
        del data.PixelData

    change(broken, forget)
    found = study.index()
    assert [(problem.contour, problem.reason) for problem in found.problems] == [
        (broken, "NOT_A_SEGMENTATION")
    ]
    assert len(found.samples) == 3


def test_a_file_that_is_no_dicom_is_passed_over(study, images):
    study.segmentation("A/seg.dcm", images, CAVITIES)
    (study.root / "A/notes.dcm").write_text("no DICOM")
    assert len(study.index(strict=True).samples) == 3


def test_a_folder_without_objects_is_refused(study, images):
    with pytest.raises(DatasetError, match="holds no DICOM SEG objects") as caught:
        study.index()
    assert caught.value.reason == "NO_LABELS"


def test_no_text_of_an_object_gets_into_a_message(study, images):
    study.segmentation("A/seg.dcm", images, CAVITIES, WALLS, named=(("Doe^Jane", RIGHT[1]), WALL))
    with pytest.raises(DatasetError) as caught:
        study.index()
    assert "Doe" not in str(caught.value)


def test_what_pydicom_warns_of_does_not_reach_the_user(study, images):
    label = study.segmentation("A/seg.dcm", images, CAVITIES)
    uid = str(pydicom.dcmread(images[0]).SOPInstanceUID)
    for file in (*images, label):  # a UID whose components begin with zero misses the standard
        file.write_bytes(file.read_bytes().replace(uid.encode(), (uid[:-3] + ".01").encode()))
    with pytest.warns(UserWarning, match="Invalid value for VR UI"):
        str(pydicom.dcmread(images[0]).SOPInstanceUID)
    options = ["--images", str(study.root), "--contours", str(study.root), "--label-format", "seg"]
    result = CliRunner().invoke(main, options)
    assert result.exit_code == 0, result.output
    assert "Every label can be used." in result.stdout
    assert "Warning" not in result.stderr
    assert uid[:-3] not in result.stderr
