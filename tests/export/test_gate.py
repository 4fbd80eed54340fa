"""Engines that are wrong in one way each, and the check that finds it."""

import numpy as np
import pytest

from lvseg.errors import EngineError
from lvseg_export.engines.base import Prediction
from lvseg_export.gate import check_batches, check_finite, check_phantoms, check_shapes


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
