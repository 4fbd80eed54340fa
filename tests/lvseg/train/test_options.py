import json
from typing import Any

import pytest

from lvseg.data.augmentation import Augmentation
from lvseg.errors import OptionError, RunError
from lvseg.models import NetworkOptions
from lvseg.train.options import OPTIONS_FILE, RunRecord, TrainOptions, package_versions
from lvseg.train.recipes import DEFAULT_RECIPES


def training_options(**changes: Any) -> TrainOptions:
    """The default recipe on folders that need not exist."""
    return TrainOptions.following(
        DEFAULT_RECIPES["fcn-8s"], **{"images": "/images", "contours": "/contours", **changes}
    )


def record() -> RunRecord:
    options = training_options(
        network=NetworkOptions(width=0.25, norm="batch"),
        validate=("SC-HF-I-5",),
        augmentation=Augmentation(window=96),
    )
    return RunRecord(
        options=options,
        working_spacing_mm=1.4,
        training=["SC-HF-I-1/0048"],
        validation=["SC-HF-I-5/0027"],
        versions=package_versions(),
    )


def test_a_record_reads_back_as_it_was_written(tmp_path):
    record().write(tmp_path)
    assert RunRecord.read(tmp_path) == record()


def test_a_variation_that_an_older_run_does_not_name_was_not_there(tmp_path):
    record().write(tmp_path)
    values = json.loads((tmp_path / OPTIONS_FILE).read_text())
    del values["options"]["augmentation"]["muscles_share"]
    (tmp_path / OPTIONS_FILE).write_text(json.dumps(values))
    augmentation = RunRecord.read(tmp_path).options.augmentation
    assert augmentation == Augmentation(window=96, muscles_share=0.0)


def test_a_folder_without_options_is_not_a_run(tmp_path):
    with pytest.raises(
        RunError, match=r"is not a run \(it holds no options.json\); write one with lvseg-train"
    ):
        RunRecord.read(tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"options": {}}', '{"options": {"augmentation": {"blur": 1}}}']
)
def test_options_that_are_not_ours_are_refused(tmp_path, text):
    (tmp_path / OPTIONS_FILE).write_text(text)
    with pytest.raises(RunError, match="is not the options of a run of this lvseg"):
        RunRecord.read(tmp_path)


def test_the_record_names_the_versions_it_was_made_with(tmp_path):
    record().write(tmp_path)
    versions = json.loads((tmp_path / OPTIONS_FILE).read_text())["versions"]
    assert set(versions) >= {"python", "lvseg", "torch", "lightning", "monai", "numpy"}


def test_the_last_epoch_has_to_be_validated():
    with pytest.raises(OptionError, match="--epochs 50 is no multiple of --validation-interval 4"):
        training_options(epochs=50, validation_interval=4)


def test_a_recipe_for_pretrained_weights_asks_for_them():
    with pytest.raises(OptionError, match="goes on from pretrained weights; give a file with --pretrained"):
        training_options(transfer=True)


def test_weights_cannot_be_zero_and_pretrained():
    with pytest.raises(OptionError, match="add --initialisation he, or leave out --pretrained"):
        training_options(pretrained="weights.caffemodel", initialisation="zero")


@pytest.mark.parametrize(
    ("change", "option"),
    [
        ({"validate": ("SC-HF-I-5",)}, "--validate"),
        ({"validation_percent": 10.0}, "--validation-percent"),
        ({"early_stopping": 3}, "--early-stopping"),
        ({"validation_interval": 1}, "--validation-interval"),
    ],
)
def test_a_training_on_every_slice_has_nothing_to_choose_an_epoch_by(change, option):
    with pytest.raises(OptionError, match=f"takes the last epoch's weights; leave out {option}"):
        training_options(**{"leave_none_out": True, "epochs": 50, "validation_interval": 50, **change})
