import numpy as np
import pytest
from PIL import Image

from lvseg.data.labelled import load_all
from lvseg.data.sources import index_labels, load_labelled
from lvseg.errors import DatasetError

VENTRICLE = np.zeros((8, 10), dtype=np.uint8)
VENTRICLE[2:5, 3:7] = 255
VENTRICLE[3, 4] = 0  # a hole
VENTRICLE[7, 0] = 255  # and a second part
NOTHING = np.zeros((8, 10), dtype=np.uint8)


@pytest.fixture
def mask(tree):
    """Return a writer of masks."""

    def write(path, values=VENTRICLE, mode=None):
        file = tree.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(np.asarray(values))
        (picture if mode is None else picture.convert(mode)).save(file)
        return file

    return write


def index(tree, **options):
    return index_labels(tree.root / "images", tree.root / "masks", "masks", **options)


def names(index):
    return [sample.name for sample in index.samples]


def reasons(found):
    return [problem.reason for problem in found.problems]


# Which image


@pytest.mark.parametrize("name", ["x.png", "x.bmp", "x.tif", "x.TIFF", "x_mask.png", "x-gt.png", "x.dcm.png"])
def test_a_mask_belongs_to_the_image_of_its_folder_and_name(tree, mask, name):
    image = tree.image("images/A/x.dcm")
    tree.image("images/B/x.dcm")
    label = mask(f"masks/A/{name}")
    (sample,) = index(tree).samples
    assert (sample.image, sample.label) == (image, label)
    assert (sample.patient, sample.name) == ("A", "A/x")


def test_a_name_as_it_stands_goes_before_one_without_its_ending(tree, mask):
    image = tree.image("images/A/scan_seg.dcm", value=1)
    tree.image("images/A/scan.dcm", value=2)
    mask("masks/A/scan_seg.png")
    assert index(tree).samples[0].image == image


def test_a_mask_may_lie_beside_its_image(tree, mask):
    image = tree.image("A/x.dcm", value=1)
    tree.image("B/x.dcm", value=2)
    mask("A/x.png")
    (sample,) = index_labels(tree.root, tree.root, "masks").samples
    assert sample.image == image


def test_folders_that_say_masks_and_images_alone_do_not_count(tree, mask):
    image = tree.image("A/images/x.dcm", value=1)
    tree.image("B/images/x.dcm", value=2)
    mask("A/masks/x.png")
    (sample,) = index_labels(tree.root, tree.root, "masks").samples
    assert (sample.image, sample.name) == (image, "A/x")


def test_an_image_without_an_ending_is_found_by_its_whole_name(tree, mask):
    image = tree.image("images/A/1.2.840.7")
    mask("masks/A/1.2.840.7.png")
    (sample,) = index(tree).samples
    assert (sample.image, sample.number) == (image, 7)


def test_the_folders_further_in_decide(tree, mask):
    image = tree.image("images/study/A/x.dcm", value=1)
    tree.image("images/study/B/x.dcm", value=2)
    mask("masks/A/x.png")
    assert index(tree).samples[0].image == image


def test_an_image_of_another_folder_never_stands_in_for_a_missing_one(tree, mask):
    tree.image("images/A/x.dcm")
    tree.image("images/B/y.dcm")
    mask("masks/A/x.png")
    lonely = mask("masks/B/x.png")
    found = index(tree)
    assert names(found) == ["A/x"]
    (problem,) = found.problems
    assert (problem.contour, problem.reason) == (lonely, "NO_IMAGE")
    assert "no image x.dcm below" in problem.message


def test_a_mask_that_may_belong_to_two_images_is_left_out_and_both_are_named(tree, mask):
    first, second = tree.image("images/A/x.dcm", value=1), tree.image("images/B/x.dcm", value=2)
    tree.image("images/A/y.dcm")
    mask("masks/x.png")
    mask("masks/y.png")
    found = index(tree)
    assert names(found) == ["A/y"]
    assert reasons(found) == ["TWO_IMAGES"]
    assert str(first) in found.problems[0].message
    assert str(second) in found.problems[0].message


def test_two_different_masks_of_one_image_are_left_out_and_both_are_named(tree, mask):
    tree.image("images/A/x.dcm")
    tree.image("images/A/y.dcm")
    mask("masks/A/x.png")
    rival = mask("masks/A/x_mask.png", np.flipud(VENTRICLE))
    mask("masks/A/y.png")
    found = index(tree)
    assert names(found) == ["A/y"]
    assert reasons(found) == ["TWO_LABELS"]
    assert str(rival) in found.problems[0].message


def test_two_copies_of_a_mask_are_one(tree, mask):
    tree.image("images/A/x.dcm")
    mask("masks/A/x.png")
    mask("masks/copy/A/x.png")
    found = index(tree)
    assert (names(found), found.problems) == (["A/x"], ())


# Whose


@pytest.mark.parametrize(
    ("path", "patient", "name"),
    [
        ("A/series/x.dcm", "A", "A/series/x"),
        ("challenge/SC-HF-I-05/x.dcm", "SC-HF-I-5", "SC-HF-I-5/x"),
        ("SC-N-2/DICOM/series/x.dcm", "SC-N-2", "SC-N-2/series/x"),
        ("x.dcm", "images", "images/x"),
    ],
)
def test_folders_tell_the_patient(tree, mask, path, patient, name):
    tree.image(f"images/{path}")
    mask(f"masks/{path}".replace(".dcm", ".png"))
    (sample,) = index(tree).samples
    assert (sample.patient, sample.name) == (patient, name)


def test_samples_come_by_patient_and_number(tree, mask):
    for name in ("B/x-2", "A/x-10", "A/x-9"):
        tree.image(f"images/{name}.dcm")
        mask(f"masks/{name}.png")
    assert names(index(tree)) == ["A/x-9", "A/x-10", "B/x-2"]


# What is inside


def test_the_mask_is_the_label_itself_and_the_contour_goes_around_its_largest_part(tree, mask):
    tree.image("images/A/x.dcm")
    mask("masks/A/x.png")
    (image,) = load_all(index(tree).samples).images
    np.testing.assert_array_equal(image.mask, VENTRICLE > 0)
    assert image.slice.pixel_spacing == (1.5, 2.0)
    assert (image.contour.min(axis=0).tolist(), image.contour.max(axis=0).tolist()) == (
        [2.5, 1.5],
        [6.5, 4.5],
    )
    # 3 x 4 pixels with the hole filled, less half a pixel for the corners that the boundary cuts.
    assert image.area_mm2 == (3 * 4 - 0.5) * 3.0
    assert image.outer is None


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_any_kind_of_grey_image_gives_the_same_mask(tree, mask, mode):
    tree.image("images/A/x.dcm")
    mask("masks/A/x.png", mode=mode)
    (image,) = load_all(index(tree).samples).images
    np.testing.assert_array_equal(image.mask, VENTRICLE > 0)


@pytest.mark.parametrize(
    ("dtype", "name"), [(np.uint16, "x.png"), (np.uint16, "x.tif"), (np.float32, "x.tif")]
)
def test_one_of_several_structures_is_chosen_by_its_value(tree, mask, dtype, name):
    structures = np.arange(80, dtype=dtype).reshape(8, 10) % 4
    tree.image("images/A/x.dcm")
    mask(f"masks/A/{name}", structures)
    (image,) = load_all(index(tree, label=3).samples).images
    np.testing.assert_array_equal(image.mask, structures == 3)


def test_the_index_of_a_palette_is_the_value(tree, mask):
    picture = Image.fromarray((VENTRICLE > 0).astype(np.uint8) * 3)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255])
    tree.image("images/A/x.dcm")
    picture.save(mask("masks/A/x.png"))
    (image,) = load_all(index(tree, label=3).samples).images
    np.testing.assert_array_equal(image.mask, VENTRICLE > 0)


def test_several_structures_without_a_choice_are_refused_with_their_values(tree, mask):
    tree.image("images/A/x.dcm")
    several = mask("masks/A/x.png", VENTRICLE // 255 * 3 + np.eye(8, 10, dtype=np.uint8))
    with pytest.raises(DatasetError, match=r"x\.png: holds the values 1, 3, 4; say with --label") as caught:
        index(tree)
    assert str(several) in str(caught.value)
    assert (caught.value.reason, caught.value.field) == ("SEVERAL_LABELS", "--label")


def test_a_value_that_no_mask_has_is_refused_with_those_that_they_have(tree, mask):
    tree.image("images/A/x.dcm")
    mask("masks/A/x.png")
    with pytest.raises(DatasetError, match="no label holds the value 3; they hold 255") as caught:
        index(tree, label=3)
    assert caught.value.reason == "NO_SUCH_LABEL"


def test_slices_whose_mask_is_empty_are_counted_and_no_samples(tree, mask):
    for name, values in (("x", VENTRICLE), ("y", NOTHING), ("z", VENTRICLE // 255 * 2)):
        tree.image(f"images/A/{name}.dcm")
        mask(f"masks/A/{name}.png", values)
    found = index(tree, label=255)
    assert (names(found), found.empty, found.problems) == (["A/x"], 2, ())


def test_masks_that_are_all_empty_are_refused(tree, mask):
    tree.image("images/A/x.dcm")
    mask("masks/A/x.png", NOTHING)
    with pytest.raises(DatasetError, match="all 1 slices are empty") as caught:
        index(tree)
    assert caught.value.reason == "NOTHING_LABELLED"


# What cannot be used


def test_a_mask_of_another_shape_is_left_out_with_both_shapes(tree, mask):
    for name in "xy":
        tree.image(f"images/A/{name}.dcm")
    mask("masks/A/x.png")
    wrong = mask("masks/A/y.png", VENTRICLE.T)
    loaded = load_labelled(tree.root / "images", tree.root / "masks", "masks")
    assert [image.name for image in loaded.images] == ["A/x"]
    (problem,) = loaded.problems
    assert (problem.contour, problem.reason) == (wrong, "OTHER_SHAPE")
    assert f"{wrong}: 10 x 8 pixels, expected 8 x 10 as its image has" in problem.message


def truncated(file):
    file.write_bytes(file.read_bytes()[:-40])


def text(file):
    file.write_text("no picture")


def coloured(file):
    Image.fromarray(np.stack([VENTRICLE, VENTRICLE, NOTHING], axis=-1)).save(file)


def transparent(file):
    Image.fromarray(VENTRICLE).convert("RGBA").save(file)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (truncated, "NOT_AN_IMAGE"),
        (text, "NOT_AN_IMAGE"),
        (coloured, "NOT_A_LABEL"),
        (transparent, "NOT_A_LABEL"),
    ],
)
def test_a_file_that_is_no_mask_is_left_out_and_named(tree, mask, spoil, reason):
    for name in "xy":
        tree.image(f"images/A/{name}.dcm")
        mask(f"masks/A/{name}.png")
    spoil(tree.root / "masks/A/y.png")
    found = index(tree)
    assert names(found) == ["A/x"]
    assert reasons(found) == [reason]
    assert found.problems[0].message.startswith(str(tree.root / "masks/A/y.png"))


def test_a_mask_of_probabilities_is_left_out(tree, mask):
    for name in "xy":
        tree.image(f"images/A/{name}.dcm")
    mask("masks/A/x.png")
    mask("masks/A/y.tif", VENTRICLE.astype(np.float32) / 510)
    found = index(tree)
    assert reasons(found) == ["NOT_A_LABEL"]
    assert "found values that are no whole numbers" in found.problems[0].message


def test_a_mask_of_several_pages_is_left_out(tree, mask):
    for name in "xy":
        tree.image(f"images/A/{name}.dcm")
    mask("masks/A/x.png")
    page = Image.fromarray(VENTRICLE)
    page.save(mask("masks/A/y.tif"), save_all=True, append_images=[page])
    found = index(tree)
    assert "y.tif: 2 pages, expected one" in found.problems[0].message


def test_an_image_that_cannot_be_read_is_left_out_and_named(tree, mask):
    tree.image("images/A/x.dcm")
    broken = tree.text("images/A/y.dcm", "no DICOM")
    for name in "xy":
        mask(f"masks/A/{name}.png")
    loaded = load_all(index(tree).samples)
    assert [image.name for image in loaded.images] == ["A/x"]
    assert str(broken) in loaded.problems[0].message


def test_a_mask_that_is_emptied_after_it_was_found_is_left_out(tree, mask):
    for name in "xy":
        tree.image(f"images/A/{name}.dcm")
        mask(f"masks/A/{name}.png")
    samples = index(tree).samples
    mask("masks/A/y.png", NOTHING)
    assert [problem.reason for problem in load_all(samples).problems] == ["EMPTY_MASK"]


def test_masks_that_match_no_image_are_refused_and_the_first_is_named(tree, mask):
    tree.image("images/A/x.dcm")
    mask("masks/B/x.png")
    with pytest.raises(
        DatasetError, match=r"none of the 1 labels .* the first: .*B/x\.png: no image"
    ) as caught:
        index(tree)
    assert caught.value.reason == "NOTHING_MATCHES"


def test_strict_refuses_masks_with_a_problem(tree, mask):
    tree.image("images/A/x.dcm")
    mask("masks/A/x.png")
    mask("masks/A/y.png")
    with pytest.raises(DatasetError, match="1 of 2 labels cannot be used"):
        index(tree, strict=True)


def test_a_folder_without_masks_is_refused(tree):
    tree.image("images/A/x.dcm")
    tree.text("masks/readme.txt", "")
    with pytest.raises(DatasetError, match="masks holds no masks") as caught:
        index(tree)
    assert caught.value.reason == "NO_LABELS"


def test_a_folder_without_images_is_refused(tree, mask):
    mask("masks/A/x.png")
    tree.text("images/readme.txt", "")
    with pytest.raises(DatasetError, match="images holds no DICOM files") as caught:
        index(tree)
    assert caught.value.reason == "NO_DICOM"
