"""Engines that are wrong in one way each, and the check that finds it."""

from pathlib import Path

import numpy as np
import pytest

from lvseg.errors import EngineError
from lvseg_export.bundle import Bundle, InputContract, Manifest, ModelInfo
from lvseg_export.engines.base import Prediction
from lvseg_export.gate import check_batches, check_finite, check_phantoms, check_shapes, choose_canary


class Threshold:
    """What is brighter than 500 is ventricle."""

    name, version, file, precision, threads = "threshold", "1", "model.onnx", "fp32", 1

    def run(self, pixels):
        mask = pixels[:, 0] > 500
        return Prediction(mask.astype(np.uint8), mask.astype(np.float32))


class WrongInTheSecondPlace(Threshold):
    def run(self, pixels):
        answer = super().run(pixels)
        answer.mask[1:2] = 0
        return answer


class WrongInBatchesOfThree(Threshold):
    def run(self, pixels):
        answer = super().run(pixels)
        if len(pixels) == 3:
            answer.mask[:] = 0
        return answer


class WrongForOddSides(Threshold):
    def run(self, pixels):
        answer = super().run(pixels)
        if pixels.shape[-1] % 2:
            answer.mask[:] = 1 - answer.mask
        return answer


class NoNumberForConstants(Threshold):
    def run(self, pixels):
        answer = super().run(pixels)
        if pixels.std() == 0:
            answer.probability[:] = np.nan
        return answer


class NoNumberForSpikes(Threshold):
    def run(self, pixels):
        answer = super().run(pixels)
        if pixels.max() > 65000 and pixels.std() > 0:
            answer.probability[:] = np.inf
        return answer


@pytest.fixture
def pixels():
    """Four slices of any kind, each with something bright."""
    return np.random.default_rng(0).uniform(0, 1000, (4, 1, 240, 256)).astype(np.float32)


def test_an_engine_without_fault_passes(pixels):
    engine = Threshold()
    check_finite(engine)
    assert check_phantoms(engine, pixels, engine.run(pixels), 1.0).dice == 1.0
    # Batches of two, three and four, each begun at every slice: 4 x (2 + 3 + 4) masks.
    assert check_batches(engine, pixels, 1.0).slices == 36
    assert check_shapes(engine, engine, pixels, 1.0).differing_pixels == 0


@pytest.mark.parametrize("engine", [WrongInTheSecondPlace(), WrongInBatchesOfThree()])
def test_the_company_of_a_slice_may_not_matter(engine, pixels):
    with pytest.raises(
        EngineError, match=r"differs from its own answer to each alone on phantoms in batches"
    ):
        check_batches(engine, pixels, 1.0)


def test_other_shapes_are_held_to_the_trained_model(pixels):
    with pytest.raises(EngineError, match="on phantoms of other shapes"):
        check_shapes(WrongForOddSides(), Threshold(), pixels, 1.0)


def test_the_slice_that_differs_is_named(pixels):
    engine = Threshold()
    expected = engine.run(pixels)
    expected.mask[2, :50] = 0
    with pytest.raises(EngineError, match=r"on phantoms: .* most on slice 2"):
        check_phantoms(engine, pixels, expected, 1.0)


@pytest.mark.parametrize(
    ("engine", "image"), [(NoNumberForConstants(), "zeros"), (NoNumberForSpikes(), "a single bright pixel")]
)
def test_an_image_without_content_has_to_give_numbers(engine, image):
    with pytest.raises(EngineError, match=f"no finite numbers for {image}"):
        check_finite(engine)


@pytest.fixture
def bundle(pixels, tmp_path: Path) -> Bundle:
    """One whose phantoms are the slices; the trained model finds nothing in the first."""
    pixels[0] /= 2
    expected = Threshold().run(pixels)
    np.savez(tmp_path / "reference.npz", pixels=pixels, **expected._asdict())
    manifest = Manifest(
        model=ModelInfo(name="threshold", version="1", architecture="threshold", options={}),
        input=InputContract(channels=1, working_spacing_mm=1.0),
        labels=("background", "left ventricle"),
        training={},
        engines=(),
    )
    return Bundle(folder=tmp_path, manifest=manifest)


class WrongOnBrightSlices(Threshold):
    """Int8, whose masks may lose a hundredth of Dice over all slices; it loses more on all but the darkest."""

    precision = "int8"

    def run(self, pixels):
        answer = super().run(pixels)
        for one, mask in zip(pixels, answer.mask, strict=True):
            if one.sum() > self.bright:
                mask[:20] = 0
        return answer


def test_the_canary_is_a_phantom_with_a_ventricle_that_the_engine_answers_rightly(bundle):
    canary = choose_canary(Threshold(), bundle)
    assert canary.expected.mask.any()
    canary.check(Threshold().run(canary.pixels))


def test_a_phantom_on_which_the_engine_loses_more_than_a_slice_may_is_no_canary(bundle):
    engine = WrongOnBrightSlices()
    engine.bright = np.sort(bundle.reference.pixels.sum((1, 2, 3)))[-3]  # all but one with a ventricle
    canary = choose_canary(engine, bundle)
    assert canary.expected.mask.any()
    canary.check(engine.run(canary.pixels))


def test_a_wrong_answer_to_the_canary_names_engine_and_precision(bundle):
    canary = choose_canary(Threshold(), bundle)
    found = Threshold().run(canary.pixels)
    found.mask[:] = 0
    with pytest.raises(EngineError, match=r"threshold \(fp32\) differs from the trained model on the canary"):
        canary.check(found)
