import csv

import pydicom
import pytest
from click.testing import CliRunner
from PIL import Image

from lvseg.data.cli import main


def run(folder, *options):
    return CliRunner().invoke(main, ["--images", str(folder), "--contours", str(folder), *map(str, options)])


def rows(output, name):
    """Return the cells of the rows of that name in all printed tables, one table after the other."""
    lines = (line.split() for line in output.splitlines())
    return [cells[1:] for cells in lines if cells[:1] == [name]]


@pytest.fixture
def patients(tree):
    """Two patients with 3 and 2 contours."""
    tree.challenge("SC-N-2", 20, 27, 40)
    tree.challenge("SC-N-3", 20, 27)
    tree.contour("SC-N-3", 20, "o")
    return tree


def test_the_counts_of_training_and_validation_are_printed(patients):
    result = run(patients.root, "--validate", "SC-N-03")
    assert result.exit_code == 0, result.stderr
    assert rows(result.stdout, "training") == [["3", "1", "20.00"]]
    assert rows(result.stdout, "validation") == [["2", "1", "20.00"]]


def test_each_patient_has_its_figures(patients):
    result = run(patients.root, "--validate", "SC-N-3")
    counts, measures = rows(result.stdout, "SC-N-2")
    assert counts == ["3", "0", "0", "1", "3", "2000", "to", "4000"]
    assert measures == ["8", "x", "10", "1.5", "x", "2", "27", "20.00", "20.00"]


def test_a_share_of_the_contours_is_drawn_with_a_seed(patients):
    result = run(patients.root, "--validation-percent", "40", "--seed", "7")
    assert rows(result.stdout, "training")[0][0] == "3"
    assert rows(result.stdout, "validation")[0][0] == "2"
    assert "40% of the contours, seed 7" in result.stdout


def test_a_handful_of_contours_can_be_looked_at_without_a_split(patients):
    result = run(patients.root)
    assert result.exit_code == 0
    assert rows(result.stdout, "validation") == [["0", "0"]]


def test_a_contour_that_cannot_be_used_is_printed_with_its_whole_name(patients):
    lonely = patients.contour("SC-N-3", 160)
    result = run(patients.root)
    assert result.exit_code == 0
    assert "Labels left out: 1" in result.stdout
    assert f"NO_IMAGE  {lonely}" in result.stdout


def test_pictures_and_a_table_are_written(patients, tmp_path):
    out = tmp_path / "pairs"
    result = run(patients.root, "--validate", "SC-N-3", "--out", out, "--pictures", 2)
    assert result.exit_code == 0, result.stderr
    assert {path.name for path in out.iterdir()} == {
        "pairs.csv",
        "contact-sheet.png",
        "SC-N-2_0020.png",
        "SC-N-3_0027.png",
    }
    with (out / "pairs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["patient"], row["number"], row["set"]) for row in rows] == [
        ("SC-N-2", "20", "training"),
        ("SC-N-2", "27", "training"),
        ("SC-N-2", "40", "training"),
        ("SC-N-3", "20", "validation"),
        ("SC-N-3", "27", "validation"),
    ]
    assert (rows[3]["area_mm2"], rows[3]["share"]) == ("27.00", "0.200000")
    assert rows[3]["epicardium"].endswith("IM-0001-0020-ocontour-manual.txt")
    assert rows[4]["epicardium"] == ""


def test_a_picture_shows_slice_label_and_contour_side_by_side(patients, tmp_path):
    run(patients.root, "--out", tmp_path / "pairs", "--pictures", 1)
    with Image.open(tmp_path / "pairs/SC-N-2_0020.png") as picture:
        width, height = (picture.width - 2 * 4) // 3, picture.height
        label = picture.crop((width + 4, 0, 2 * width + 4, height))
        # Of 8 x 10 pixels, the 4 x 4 from (2, 2) on are the ventricle.
        assert label.getpixel((round(3.5 / 10 * width), round(3.5 / 8 * height))) == (255, 255, 255)
        assert label.getpixel((round(7.5 / 10 * width), round(3.5 / 8 * height))) == (0, 0, 0)


def test_a_former_result_is_left_alone(patients, tmp_path):
    out = tmp_path / "pairs"
    run(patients.root, "--out", out)
    before = (out / "pairs.csv").stat().st_mtime_ns
    result = run(patients.root, "--out", out)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert "pass --overwrite" in result.stderr
    assert (out / "pairs.csv").stat().st_mtime_ns == before


def test_a_former_result_is_replaced_when_asked(patients, tmp_path):
    out = tmp_path / "pairs"
    run(patients.root, "--out", out, "--pictures", 5)
    assert run(patients.root, "--out", out, "--pictures", 1, "--overwrite").exit_code == 0
    assert len(list(out.glob("SC-*.png"))) == 1


def test_a_folder_that_is_no_former_result_is_left_alone_whatever_is_asked(patients, tmp_path):
    diary = patients.text("diary/today.txt", "dear diary")
    result = run(patients.root, "--out", diary.parent, "--overwrite")
    assert result.exit_code == 2
    assert diary.read_text() == "dear diary"


def test_an_error_leaves_a_former_result_alone(patients, tmp_path):
    out = tmp_path / "pairs"
    run(patients.root, "--out", out)
    result = run(patients.root, "--out", out, "--overwrite", "--validate", "SC-N-9")
    assert result.exit_code == 2
    assert (out / "pairs.csv").is_file()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--validate", "SC-N-9"], "no patient SC-N-9 in the data set; it has SC-N-2, SC-N-3"),
        (["--validate", "SC-N-2", "--validate", "SC-N-3"], "nothing to train on"),
        (["--validate", "SC-N-2", "--validation-percent", "10"], "give one of them"),
        (["--validation-percent", "100"], "100"),
        (["--validation-percent", "10"], "nothing to validate on"),
        (["--images", "/nowhere"], "/nowhere"),
    ],
)
def test_a_wrong_option_is_one_line_and_exit_code_2(patients, options, message):
    result = run(patients.root, *options)
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr


def test_a_patient_that_stands_on_both_sides_under_two_names_is_refused(patients):
    for path in ("SC-N-2/IM-0004-0027.dcm", "SC-N-3/IM-0004-0020.dcm"):
        image = pydicom.dcmread(patients.root / "images" / path)
        image.StudyInstanceUID = "1.2.77"
        image.save_as(patients.root / "images" / path)
    result = run(patients.root, "--validate", "SC-N-3")
    assert result.exit_code == 2
    assert "SC-N-2 and SC-N-3 are of one study" in result.stderr
    assert run(patients.root, "--validation-percent", 40).exit_code == 0


def test_strict_refuses_a_data_set_with_a_problem(patients):
    patients.contour("SC-N-3", 160)
    result = run(patients.root, "--strict")
    assert result.exit_code == 2
    assert "IM-0001-0160-icontour-manual.txt" in result.stderr


def test_a_folder_without_data_is_one_line_and_exit_code_2(tmp_path):
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "holds no contours" in result.stderr


def test_help_tells_a_newcomer_what_to_give():
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for word in ("--images", "--contours", "SC-HF-I-5", "Cardiac Atlas", "lvseg-data --images"):
        assert word in result.stdout


def test_the_real_patients_come_out_as_published(sunnybrook):
    result = run(sunnybrook, "--validate", "SC-HF-I-5")
    assert result.exit_code == 0, result.stderr
    assert rows(result.stdout, "training")[0][0] == "56"
    assert rows(result.stdout, "validation")[0][0] == "18"
    counts, measures = rows(result.stdout, "all")
    assert counts[:4] == ["56", "18", "37", "37"]
    assert measures[-4:] == ["1.98", "0.13", "to", "3.71"]
    assert "Every label can be used." in result.stdout
