"""What lvseg-evaluate judges."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lvseg.contour import mask_to_contour
from lvseg.data.labelled import LabelledImage
from lvseg.data.pairing import LabelledSlice
from lvseg.data.sunnybrook import load_sunnybrook
from lvseg.dicom import Slice
from lvseg.errors import EngineError, OptionError, RunError
from lvseg.evaluation import evaluate
from lvseg_export.bundle import MANIFEST, sha256_of
from lvseg_export.engines.base import Prediction
from lvseg_export.evaluate import bundle_subject, predictor, run_subject


class BrightEngine:
    """Finds whatever is brighter than 100, and remembers what it was given."""

    def __init__(self, *, shape_of_answer: tuple[int, int, int] | None = None) -> None:
        self.given: list[np.ndarray] = []
        self._shape = shape_of_answer

    def run(self, pixels):
        self.given.append(pixels)
        probability = (pixels[:, 0] > 100).astype(np.float32)
        if self._shape:
            probability = np.zeros(self._shape, dtype=np.float32)
        return Prediction(probability.astype(np.uint8), probability)


@pytest.fixture
def square() -> LabelledImage:
    """A bright square of 20 x 10 pixels of 1 x 2 mm, labelled as such."""
    pixels = np.zeros((60, 30), dtype=np.float32)
    pixels[20:40, 10:20] = 200
    mask = pixels > 100
    return LabelledImage(
        LabelledSlice("SC-A-1", Path("image"), Path("IM-0001-0001-icontour-manual.txt")),
        Slice(
            pixels=pixels,
            pixel_spacing=(1.0, 2.0),
            position_mm=None,
            orientation=None,
            slice_spacing_mm=None,
            trigger_time_ms=None,
            instance_number=None,
            frame=1,
            sop_instance_uid="",
            series_instance_uid="",
            study_instance_uid="",
            frame_of_reference_uid="",
        ),
        mask_to_contour(mask),
        mask,
    )


def test_a_slice_goes_whole_to_the_working_grid_and_its_mask_comes_back_on_its_own(square):
    engine = BrightEngine()
    mask = predictor(engine, 1.0)(square)
    assert [pixels.shape for pixels in engine.given] == [(1, 1, 60, 60)]
    assert mask.shape == (60, 30)
    assert evaluate(lambda _: mask, [square]).scores("honest").dice == pytest.approx(1.0, abs=0.02)


def test_an_answer_of_another_shape_is_an_engine_error(square):
    with pytest.raises(EngineError, match=r"shape \(1, 9, 9\), expected \(1, 60, 60\)"):
        predictor(BrightEngine(shape_of_answer=(1, 9, 9)), 1.0)(square)


def test_a_run_and_its_bundle_find_the_same(trained_run, bundle, phantom):
    images = load_sunnybrook(phantom, phantom).images
    run = run_subject(trained_run, checkpoint="best", threads=1)
    exported = bundle_subject(bundle, runtime="onnxruntime", precision="fp32", threads=1)
    for image in images[:4]:
        assert np.mean(run.predict(image) != exported.predict(image)) <= 1e-4


def test_a_bundle_is_told_by_the_digest_of_its_manifest(bundle):
    description = bundle_subject(bundle, runtime="onnxruntime", precision="fp32", threads=1).description
    assert description["kind"] == "bundle"
    assert description["manifest_sha256"] == sha256_of(bundle / MANIFEST)
    assert description["engine"]["name"] == "onnxruntime-cpu"
    json.dumps(description)


def test_a_run_is_told_by_its_folder_checkpoint_and_epoch(trained_run):
    subject = run_subject(trained_run, checkpoint="last", threads=1)
    assert subject.description["folder"] == str(trained_run)
    assert (subject.description["checkpoint"], subject.description["epoch"]) == ("last", 60)
    assert subject.trained_on == {"SC-PH-1"}
    json.dumps(subject.description)


def test_a_folder_that_is_neither_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"is neither a bundle .* nor a run"):
        run_subject(tmp_path, checkpoint="best", threads=None)


def test_a_broken_run_keeps_its_own_message(trained_run, tmp_path):
    shutil.copy(trained_run / "options.json", tmp_path)
    with pytest.raises(RunError, match=r"has no checkpoints/last\.ckpt"):
        run_subject(tmp_path, checkpoint="last", threads=None)


def test_the_mask_of_a_slice_does_not_depend_on_its_label(bundle, phantom):
    subject = bundle_subject(bundle, runtime="onnxruntime", precision="fp32", threads=1)
    image = load_sunnybrook(phantom, phantom).images[0]
    other = dataclasses.replace(image, mask=~image.mask, contour=image.contour[::-1])
    np.testing.assert_array_equal(subject.predict(image), subject.predict(other))
