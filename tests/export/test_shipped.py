"""The model that comes with lvseg, held to its card, and to slices of other sizes and spacings."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from lvseg.contour import contour_to_mask
from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.metrics import dice
from lvseg_export.bundle import PARITY, Bundle, load_bundle
from lvseg_export.choice import load_engine
from lvseg_export.evaluate import predictor
from lvseg_export.shipped import SHIPPED, named_bundle


@pytest.fixture(scope="module")
def shipped() -> Bundle:
    return load_bundle(SHIPPED)


@pytest.fixture(scope="module")
def images(sunnybrook: Path) -> Sequence[LabelledImage]:
    """A basal, a middle and an apical slice of each phase of one patient."""
    samples = [
        sample for sample in index_sunnybrook(sunnybrook, sunnybrook).samples if sample.patient == "SC-HF-I-5"
    ]
    return load_all([samples[index] for index in (0, 1, 8, 9, 14, 15)]).images


def on_another_grid(
    image: LabelledImage, shape: tuple[int, int], spacing_mm: tuple[float, float]
) -> LabelledImage:
    """The same anatomy, middle on middle, drawn by another library's interpolation; the contour moves along."""
    old_spacing = np.array(image.slice.pixel_spacing)
    middle, old_middle = (np.array(shape) - 1) / 2, (np.array(image.slice.pixels.shape) - 1) / 2
    scale = np.array(spacing_mm) / old_spacing
    places = (np.indices(shape).reshape(2, -1).T - middle) * scale + old_middle
    pixels = map_coordinates(image.slice.pixels, places.T, order=1, mode="nearest").reshape(shape)
    contour = (image.contour - old_middle[::-1]) / scale[::-1] + middle[::-1]
    moved = dataclasses.replace(image.slice, pixels=pixels.astype(np.float32), pixel_spacing=spacing_mm)
    return dataclasses.replace(image, slice=moved, contour=contour, mask=contour_to_mask(contour, shape))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [
        ((192, 256), (1.37, 1.37)),
        ((512, 512), (0.7, 0.7)),
        ((190, 188), (1.9, 1.9)),
        ((256, 216), (1.0, 1.6)),
    ],
)
def test_the_same_anatomy_has_the_same_dice_on_every_grid(shipped, images, shape, spacing_mm, precision):
    engine = load_engine(shipped, "onnxruntime", precision)
    predict = predictor(engine, shipped.manifest.input.working_spacing_mm)
    own = np.mean([dice(predict(image), image.mask) for image in images])
    moved = [on_another_grid(image, shape, spacing_mm) for image in images]
    assert np.mean([dice(predict(image), image.mask) for image in moved]) == pytest.approx(own, abs=0.02)


def test_it_has_float32_and_int8_in_20_megabytes(shipped):
    assert [file.precision for file in shipped.manifest.engines] == ["fp32", "int8"]
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) <= 20e6


def test_both_precisions_were_held_to_the_trained_model_on_the_labelled_slices():
    results = json.loads((SHIPPED / PARITY).read_text())["results"]
    checked = [result for result in results if result["check"] == "labelled slices"]
    assert {result["precision"] for result in checked} == {"fp32", "int8"}
    assert {result["parity"]["slices"] for result in checked} == {74}


def test_its_card_names_data_licence_recipe_worth_and_limits(shipped):
    card = (SHIPPED / "README.md").read_text(encoding="utf-8")
    crossed = shipped.manifest.training["cross_validation"]
    for told in (
        "Radau P, Lu Y, Connelly K",
        "CC0 1.0",
        "not a\nmedical device",
        "Each of 4 patients left out in turn",
        f"mean Dice {crossed['dice']:.3f}",
        "lvseg-train",
    ):
        assert told in card


def test_it_is_taken_where_none_is_named_and_told(capsys):
    assert named_bundle(None).folder == SHIPPED
    assert "research use only" in capsys.readouterr().err


def test_it_finds_what_it_was_trained_on(shipped, images):
    engine = load_engine(shipped, "onnxruntime", "fp32")
    predict = predictor(engine, shipped.manifest.input.working_spacing_mm)
    assert np.mean([dice(predict(image), image.mask) for image in images]) > 0.9
