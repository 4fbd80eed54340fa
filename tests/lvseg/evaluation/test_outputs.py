"""What an evaluation writes and prints."""

import csv
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from lvseg.evaluation import Evaluation, evaluate
from lvseg.evaluation.console import print_evaluation
from lvseg.evaluation.folder import write_evaluation
from lvseg.evaluation.pictures import draw_bland_altman, draw_gallery
from lvseg.evaluation.tables import PATIENT_COLUMNS, SLICE_COLUMNS, write_json, write_patients, write_slices
from lvseg.overlay import CONTOUR_COLOUR


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def printed(evaluation, width=80):
    stream = io.StringIO()
    print_evaluation(evaluation, Console(file=stream, width=width))
    return stream.getvalue()


def line(text, start, nth=0):
    """Return the last eight cells of the nth line that starts so."""
    return [found.split()[-8:] for found in text.splitlines() if found.strip().startswith(start)][nth]


def test_the_table_of_slices_has_a_row_a_slice(evaluation, tmp_path):
    write_slices(evaluation, tmp_path / "slices.csv")
    table = rows(tmp_path / "slices.csv")
    assert tuple(table[0]) == SLICE_COLUMNS
    assert [row["slice"] for row in table] == [result.name for result in evaluation.results]
    assert ",".join(table[1].values()) == (
        "SC-A-9,SC-A-9/0002,,0.6000,2.000,4.000,1,0,100.00,100.00,0.00,0.00,0.6000,4.000,100.00"
    )


def test_what_a_missed_ventricle_has_not_is_an_empty_cell(evaluation, tmp_path):
    write_slices(evaluation, tmp_path / "slices.csv")
    missed = rows(tmp_path / "slices.csv")[2]
    assert (missed["apd_mm"], missed["hausdorff_mm"]) == ("", "")
    assert (missed["dice"], missed["missed"], missed["area_error_percent"]) == ("0.0000", "1", "-100.00")


def test_the_table_of_patients_has_both_ways_of_scoring(evaluation, tmp_path):
    write_patients(evaluation, tmp_path / "patients.csv")
    first, second = rows(tmp_path / "patients.csv")
    assert tuple(first) == PATIENT_COLUMNS
    assert (first["patient"], second["patient"]) == ("SC-A-9", "SC-A-10")
    assert (first["contours"], first["missed"], first["good_percent"]) == ("3", "1", "66.67")
    assert (first["honest_counted"], first["honest_measured"], first["honest_dice"]) == ("3", "2", "0.5333")
    assert (first["challenge_counted"], first["challenge_dice"]) == ("2", "0.8000")
    assert (second["challenge_counted"], second["challenge_apd_mm"]) == ("1", "3.333")


def test_the_json_holds_every_figure_unrounded_and_what_was_evaluated(evaluation, tmp_path):
    write_json(evaluation, tmp_path / "evaluation.json", {"kind": "bundle", "manifest_sha256": "00ff"})
    document = json.loads((tmp_path / "evaluation.json").read_text(encoding="utf-8"))
    assert document["definitions_version"] == 1
    assert document["evaluated"] == {"kind": "bundle", "manifest_sha256": "00ff"}
    assert (document["contours"], document["patients"]) == (5, ["SC-A-9", "SC-A-10"])
    means = document["means"]
    assert means["honest"]["over_slices"]["dice"] == evaluation.scores("honest").dice
    assert means["honest"]["over_patients"]["dice"]["sd"] == evaluation.across_patients("honest").dice.sd
    assert means["challenge"]["by_patient"]["SC-A-9"]["dice"] == pytest.approx(0.8)
    assert document["areas"]["bias_mm2"] == 0.0
    assert [row["dice"] for row in document["slices"]] == [result.dice for result in evaluation.results]
    assert document["slices"][2]["apd_mm"] is None


def test_the_console_has_a_patient_a_row_and_the_totals_in_both_ways(evaluation):
    text = printed(evaluation)
    assert line(text, "SC-A-9") == ["3", "1", "0.533", "1.00", "2.0", "66.7", "-33.3", "33.3"]
    assert line(text, "all slices") == ["5", "1", "0.453", "5.08", "8.5", "60.0", "+0.0", "40.0"]
    assert line(text, "patients, mean")[-6:] == ["0.433", "5.08", "8.5", "58.3", "+8.3", "41.7"]
    assert line(text, "patients, SD")[-6:][0] == "0.141"
    assert line(text, "SC-A-9", 1) == ["3", "2", "0.800", "1.00", "2.0", "66.7", "+0.0", "0.0"]
    assert line(text, "all slices", 1) == ["5", "3", "0.756", "1.78", "4.7", "60.0", "+33.3", "33.3"]


def test_the_console_tables_fit_80_columns(evaluation):
    text = printed(evaluation)
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text


def test_the_console_tells_how_the_areas_agree(evaluation):
    text = printed(evaluation, width=200)
    assert "bias +0.00 cm², limits of agreement -1.39 to +1.39 cm² (5 slices)" in text


def test_one_slice_that_is_missed_prints_dashes(results):
    text = printed(Evaluation.of(results[2:3]))
    assert line(text, "SC-A-9", 1) == ["1", "0", "-", "-", "-", "0.0", "-", "-"]
    assert line(text, "patients, SD")[-6:] == ["-"] * 6
    assert "bias -1.00 cm² (1 slice)" in text


def colours(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def near(pixels, colour, tolerance=30):
    return int((np.abs(pixels - colour).max(axis=2) <= tolerance).sum())


def test_the_bland_altman_plot_marks_each_slice_bias_and_limits(evaluation, tmp_path):
    draw_bland_altman(evaluation, tmp_path / "plot.png")
    pixels = colours(tmp_path / "plot.png")
    for patient in ((31, 119, 180), (255, 127, 14)):  # matplotlib's first two colours
        assert near(pixels, patient) > 20
    # The frame's two, bias, and the dashes of the limits: rows of the picture that are black for long.
    long_lines = np.flatnonzero((pixels.max(axis=2) < 100).sum(axis=1) > 300)
    assert 1 + np.count_nonzero(np.diff(long_lines) > 5) == 5


def test_eleven_patients_and_one_slice_each_are_drawn_too(make_image, tmp_path):
    images = [make_image(f"SC-A-{number}") for number in range(1, 12)]
    draw_bland_altman(evaluate(lambda image: image.mask, images), tmp_path / "plot.png")
    assert near(colours(tmp_path / "plot.png"), (31, 119, 180)) > 20


def test_the_gallery_fills_the_mask_and_draws_the_experts_contour(make_image, tmp_path):
    image = make_image()
    image.slice.pixels[:] = 0
    draw_gallery(Evaluation.of(evaluate(_twice, [image]).results), tmp_path / "gallery.png")
    pixels = colours(tmp_path / "gallery.png")
    # Amber (255, 196, 0) at 0.3 over black: the half of the mask that the contour does not enclose alone is
    # 10 x 10 of the 40 x 40 pixels.
    filled = near(pixels, (76, 59, 0), 12)
    black = near(pixels, (0, 0, 0), 12)
    assert 0.6 * 200 / 1400 < filled / black < 1.1 * 200 / 1400
    assert near(pixels, CONTOUR_COLOUR) > 300


def _twice(image):
    mask = np.zeros_like(image.mask)
    mask[10:20, 10:30] = True
    return mask


def test_the_gallery_shows_no_more_slices_than_asked_for(evaluation, tmp_path):
    draw_gallery(evaluation, tmp_path / "one.png", slices=1)
    draw_gallery(evaluation, tmp_path / "all.png")
    one, everything = colours(tmp_path / "one.png"), colours(tmp_path / "all.png")
    assert one.size < 0.5 * everything.size


def test_the_folder_holds_tables_figures_and_pictures(evaluation, tmp_path):
    write_evaluation(evaluation, tmp_path, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bland_altman.png",
        "evaluation.json",
        "gallery.png",
        "patients.csv",
        "slices.csv",
    ]


def test_the_figures_need_neither_torch_nor_matplotlib():
    code = "import sys, lvseg.evaluation; print(*{'torch', 'matplotlib'} & set(sys.modules))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "\n")
