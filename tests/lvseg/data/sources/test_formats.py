import csv

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from lvseg.contour import contour_to_mask, read_contour
from lvseg.data.cli import main
from lvseg.data.sources import LABEL_FORMATS, index_labels, load_labelled
from lvseg.data.sunnybrook import load_sunnybrook
from lvseg.errors import DatasetError, OptionError

CAVITY = np.zeros((8, 10), dtype=np.uint8)
CAVITY[2:6, 2:6] = 3


def run(images, labels, *options):
    return CliRunner().invoke(main, ["--images", str(images), "--contours", str(labels), *map(str, options)])


@pytest.fixture
def masked(tree):
    """Two patients with two masks each, of cavity (3) and wall (2), one of them empty."""
    wall = CAVITY.copy()
    wall[2:6, 1] = 2
    for name, mask in (("A/x1", wall), ("A/x2", wall * 0), ("B/x1", CAVITY), ("B/x2", wall)):
        tree.image(f"images/{name}.dcm")
        file = tree.root / f"masks/{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(mask).save(file)
    return tree.root


def test_every_format_has_a_name():
    assert list(LABEL_FORMATS) == ["contours", "masks", "seg", "nifti"]


def test_an_unknown_format_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(
        OptionError, match="no label format rtss; expected one of contours, masks, seg, nifti"
    ):
        index_labels(tmp_path, tmp_path, "rtss")


def test_contours_are_the_default_and_the_same_as_ever(tree):
    tree.challenge("SC-N-2", 20, 27)
    tree.contour("SC-N-2", 40)
    through, direct = load_labelled(tree.root, tree.root), load_sunnybrook(tree.root, tree.root)
    assert [image.name for image in through.images] == [image.name for image in direct.images]
    assert through.problems == direct.problems != ()


def test_a_contour_has_no_structures_to_choose_from(tree):
    tree.challenge("SC-N-2", 20)
    with pytest.raises(OptionError, match="leave it out or choose another --label-format"):
        index_labels(tree.root, tree.root, label=3)


@pytest.mark.parametrize("label_format", ["contours", "masks", "seg", "nifti"])
@pytest.mark.parametrize("missing", ["images", "labels"])
def test_a_folder_that_does_not_exist_is_refused(tmp_path, label_format, missing):
    for name in {"images", "labels"} - {missing}:
        (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=f"{missing}: no such folder") as caught:
        index_labels(tmp_path / "images", tmp_path / "labels", label_format)
    assert caught.value.reason == "NO_SUCH_FOLDER"


def test_problems_of_finding_and_of_reading_come_together(masked):
    Image.fromarray(CAVITY).save(masked / "masks/A/lonely.png")
    Image.fromarray(CAVITY.T).save(masked / "masks/B/x2.png")
    loaded = load_labelled(masked / "images", masked / "masks", "masks", label=3)
    assert [problem.reason for problem in loaded.problems] == ["NO_IMAGE", "OTHER_SHAPE"]


def test_lvseg_data_shows_masks_and_counts_those_that_are_empty(masked):
    result = run(
        masked / "images", masked / "masks", "--label-format", "masks", "--label", 3, "--validate", "B"
    )
    assert result.exit_code == 0, result.stderr
    assert "Slices whose label marks no ventricle, not used: 1" in result.stdout
    assert "Every label can be used." in result.stdout
    rows = [line.split() for line in result.stdout.splitlines()]
    assert ["training", "1", "1", "20.00"] in rows
    assert ["validation", "2", "1", "20.00"] in rows


def test_lvseg_data_writes_pictures_and_a_table_of_masks(masked, tmp_path):
    out = tmp_path / "pairs"
    result = run(
        masked / "images",
        masked / "masks",
        "--label-format",
        "masks",
        "--label",
        3,
        "--out",
        out,
        "--pictures",
        1,
    )
    assert result.exit_code == 0, result.stderr
    with (out / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["patient"], row["number"], row["label"]) for row in rows] == [
        ("A", "1", str(masked / "masks/A/x1.png")),
        ("B", "1", str(masked / "masks/B/x1.png")),
        ("B", "2", str(masked / "masks/B/x2.png")),
    ]
    with Image.open(out / "A_x1.png") as picture:
        width = (picture.width - 2 * 4) // 3
        label = picture.crop((width + 4, 0, 2 * width + 4, picture.height))
        shown = np.asarray(label.convert("L").resize((10, 8), Image.Resampling.NEAREST)) > 127
    np.testing.assert_array_equal(shown, CAVITY == 3)


def test_lvseg_data_says_when_a_label_has_to_be_chosen(masked):
    result = run(masked / "images", masked / "masks", "--label-format", "masks")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert "holds the values 2, 3; say with --label" in result.stderr


def test_lvseg_data_shows_nifti_pairs_and_finds_a_patient_by_its_name(tmp_path):
    for patient in ("patient001", "patient002"):
        image = np.random.default_rng(1).integers(0, 99, (10, 8, 2)).astype(np.int16)
        for name, voxels in ((patient, image), (f"{patient}_gt", np.stack((CAVITY.T, CAVITY.T), axis=-1))):
            nibabel.save(nibabel.Nifti1Image(voxels, np.diag((-2, -1.5, 8, 1))), tmp_path / f"{name}.nii.gz")
    result = run(
        tmp_path, tmp_path, "--label-format", "nifti", "--validate", "patient002", "--out", tmp_path / "pairs"
    )
    assert result.exit_code == 0, result.stderr
    assert "by patient: patient002" in result.stdout
    assert (tmp_path / "pairs/patient001_s01.png").is_file()


def test_help_names_every_format():
    result = CliRunner().invoke(main, ["--help"])
    assert f"[{'|'.join(LABEL_FORMATS)}]" in result.stdout


# The real patients: their contours written as masks, and read again


def test_masks_of_the_real_contours_are_the_contours_masks(sunnybrook, tmp_path):
    direct = load_sunnybrook(sunnybrook, sunnybrook, strict=True)
    for image in direct.images:
        file = tmp_path / image.patient / f"{image.sample.image.stem}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(image.mask).save(file)
    masks = load_labelled(sunnybrook, tmp_path, "masks", strict=True)
    by_image = {image.sample.image: image for image in masks.images}
    assert len(by_image) == 74
    for image in direct.images:
        read = by_image[image.sample.image]
        assert read.patient == image.patient
        np.testing.assert_array_equal(read.mask, image.mask)


def test_the_real_o_contours_lie_around_the_i_contours(sunnybrook):
    images = [image for image in load_sunnybrook(sunnybrook, sunnybrook).images if image.outer is not None]
    assert len(images) == 9 + 9 + 10 + 9
    for image in images:
        assert image.sample.epicardium is not None
        np.testing.assert_array_equal(image.outer, read_contour(image.sample.epicardium))
        assert contour_to_mask(image.outer, image.mask.shape)[image.mask].mean() > 0.98
