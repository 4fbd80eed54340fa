"""The files of a report, of a real run."""

import base64
import csv
import dataclasses
import html
import io
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from PIL import Image

from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.errors import OptionError
from lvseg.evaluation import Evaluation, evaluate
from lvseg.train.confusion import read_confusions
from lvseg.train.predict import predict_mask
from lvseg.train.recipes import RECIPES
from lvseg.train.report import write_report
from lvseg.train.report.cli import main
from lvseg.train.report.layers import BINS, Statistics
from lvseg.train.report.page import Change, changed_options, followed, histogram_path, overlays_over_time
from lvseg.train.run import TrainedRun, load_run


@pytest.fixture(scope="module")
def images(phantom: Path) -> Sequence[LabelledImage]:
    samples = [sample for sample in index_sunnybrook(phantom, phantom).samples if sample.patient == "SC-PH-2"]
    return load_all(samples[::4]).images


def evaluated(run: TrainedRun, images: Sequence[LabelledImage]) -> Evaluation:
    spacing = run.record.working_spacing_mm
    return evaluate(lambda image: predict_mask(run.model, image.slice, spacing), images)


@pytest.fixture(scope="module")
def page(trained_run: Path) -> str:
    return (trained_run / "report.html").read_text(encoding="utf-8")


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> TrainedRun:
    return load_run(shutil.copytree(trained_run, tmp_path / "run"))


def text(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<style.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)).split())


def test_the_page_holds_all_that_it_shows(page):
    sources = re.findall(r"<(?:img|script|link|iframe)[^>]*(?:src|href)=\"([^\"]*)\"", page)
    assert len(sources) > 60
    assert all(source.startswith("data:image/") for source in sources)
    assert "<script" not in page
    assert "url(http" not in page


def test_the_page_is_small(trained_run):
    assert (trained_run / "report.html").stat().st_size < 5_000_000


def test_every_picture_of_the_page_can_be_read(page):
    for kind, data in re.findall(r"src=\"data:image/(\w+);base64,([^\"]*)\"", page):
        with Image.open(io.BytesIO(base64.b64decode(data))) as picture:
            picture.load()
            assert picture.format.lower() == kind


def test_the_page_tells_both_ways_of_scoring(page, trained_run):
    with (trained_run / "validation.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    dices = [float(row["dice"]) for row in rows]
    good = [float(row["outline_dice"]) for row in rows if row["good"] == "1"]
    shown = re.search(r"17 validation slices, whole honest challenge Dice (\S+) (\S+) ", text(page))
    assert float(shown[1]) == pytest.approx(sum(dices) / len(dices), abs=6e-4)
    if good:
        assert float(shown[2]) == pytest.approx(sum(good) / len(good), abs=6e-4)
    else:
        assert shown[2] == "-"


def test_the_table_of_the_best_epoch_is_that_epochs_row_of_the_file(page, trained_run):
    best = read_confusions(trained_run / "confusion.csv")[load_run(trained_run).epoch]
    shown = text(page)
    assert f"expert: background {best.true_negative:,} {best.false_positive:,} specificity" in shown
    assert f"expert: ventricle {best.false_negative:,} {best.true_positive:,} sensitivity" in shown


def test_the_page_tells_what_was_changed_from_the_recipe(page):
    assert "option recipe this run network: fc_channels 256 16 network: width 0.25 0.125" in text(page)
    assert "augmentation: window 160 64" in text(page)


def test_an_option_as_in_the_recipe_is_no_change(run):
    options = run.record.options
    recipe = RECIPES[options.recipe]
    same = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
    assert changed_options(dataclasses.replace(options, **same)) == []
    assert changed_options(dataclasses.replace(options, **{**same, "batch_size": 7})) == [
        Change("batch_size", recipe.batch_size, 7)
    ]


def test_names_are_text_and_never_markup(run, images):
    hostile = "<script>alert(1)</script>&amp;"
    renamed = [
        dataclasses.replace(image, sample=dataclasses.replace(image.sample, patient=hostile))
        for image in images
    ]
    record = dataclasses.replace(run.record, validation=[image.name for image in renamed])
    write_report(dataclasses.replace(run, record=record), evaluated(run, renamed))
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert hostile in text(page)


def test_the_slice_to_follow_can_be_chosen(run, images):
    evaluation = evaluated(run, images)
    write_report(run, evaluation, shown=images[1].name)
    page = text((run.folder / "report.html").read_text(encoding="utf-8"))
    assert f"What each layer makes of the slice {images[1].name} (" in page


def test_the_slice_of_median_area_is_followed_by_default(run, images):
    write_report(run, evaluated(run, images))
    median = sorted(images, key=lambda image: int(image.mask.sum()))[len(images) // 2]
    page = text((run.folder / "report.html").read_text(encoding="utf-8"))
    assert f"What each layer makes of the slice {median.name} (" in page


def test_a_slice_that_is_not_there_is_refused(run, images):
    with pytest.raises(OptionError, match=f"no validation slice SC-XX-1/1; there are {images[0].name}, "):
        write_report(run, evaluated(run, images), shown="SC-XX-1/1")


def test_slices_of_all_sizes_and_the_worst_are_followed_over_time(run, images):
    evaluation = evaluated(run, images)
    areas = sorted(image.area_mm2 for image in images)
    worst = evaluation.worst(1)[0].image.area_mm2
    expected = dict.fromkeys((areas[0], areas[len(areas) // 2], areas[-1], worst))
    assert [result.image.area_mm2 for result in followed(evaluation)] == list(expected)


def test_each_slice_is_shown_at_the_epochs_that_have_its_mask(run, images):
    first, second = evaluated(run, images).results[:2]
    history = {
        20: {first.name: ~first.image.mask, second.name: second.image.mask},
        10: {second.name: second.image.mask},
    }
    shown = [
        {epoch: cell.dice for epoch, cell in cells.items()}
        for _, cells in overlays_over_time([first, second], history)
    ]
    assert shown == [{20: 0}, {10: 1, 20: 1}]


def test_a_histogram_is_as_high_as_its_fullest_bar():
    path = histogram_path(Statistics.of(torch.tensor([0.0, 0.0, 0.0, 1.0])))
    bars = re.findall(r"M(\d+) 1V([\d.]+)h1V1", path)
    assert [int(place) for place, _ in bars] == list(range(BINS))
    tops = [float(top) for _, top in bars]
    assert tops[0] == 0
    assert tops[1:-1] == [1] * (BINS - 2)
    assert tops[-1] == pytest.approx(1 - 0.5)  # log 2 over log 4


def test_a_model_that_finds_nothing_has_a_report(run, images):
    empty = evaluate(lambda image: image.mask & False, images)
    write_report(run, empty)
    page = text((run.folder / "report.html").read_text(encoding="utf-8"))
    assert "Dice 0.000 - " in page
    assert "nothing found" in page
    assert "precision - " in page


def test_the_command_writes_the_same_report_for_another_slice(run, trained_run, capsys):
    for name in ("report.html", "curves.png", "validation.csv"):
        (run.folder / name).unlink()
    chosen = run.record.validation[3]
    with pytest.raises(SystemExit) as end:
        main.main([str(run.folder), "--slice", chosen])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"{run.folder}/report.html: epoch {run.epoch}\n"
    page = text((run.folder / "report.html").read_text(encoding="utf-8"))
    assert f"What each layer makes of the slice {chosen} (" in page
    dices = [
        [float(row["dice"]) for row in csv.DictReader((folder / "validation.csv").read_text().splitlines())]
        for folder in (run.folder, trained_run)
    ]
    assert dices[0] == pytest.approx(dices[1], abs=1e-3)


def test_a_slice_that_is_not_there_is_one_line(run, capsys):
    with pytest.raises(SystemExit) as end:
        main.main([str(run.folder), "--slice", "SC-PH-2/9999"])
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: no validation slice SC-PH-2/9999; there are SC-PH-2/")
