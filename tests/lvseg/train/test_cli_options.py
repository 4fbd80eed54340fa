from pathlib import Path
from typing import Any

import click
import pytest

from lvseg.data.augmentation import LIGHT_AUGMENTATION, NO_AUGMENTATION, Augmentation
from lvseg.errors import OptionError
from lvseg.train.cli_options import DATA, NOTHING, TRAINING, given, options, resolve
from lvseg.train.options import TrainOptions
from lvseg.train.recipes import RECIPES

FOLDERS = {"images": Path("/images"), "contours": Path("/contours")}


def resolved(recipe: str | None = None, like: TrainOptions | None = None, **values: Any) -> TrainOptions:
    return resolve({**(FOLDERS if like is None else {}), **values}, recipe=recipe, like=like)


def test_what_is_not_given_the_recipe_decides():
    assert resolved("lab-1") == TrainOptions.following(
        RECIPES["lab-1"], images="/images", contours="/contours"
    )


def test_any_option_overrides_the_recipe():
    options = resolved("lab-1", epochs=7, dropout=0.25, solver="adam")
    assert (options.epochs, options.network.dropout, options.solver) == (7, 0.25, "adam")
    assert options.network.padding == "lab"


@pytest.mark.parametrize(
    ("model", "recipe"), [("fcn-8s", "scratch-fcn8s"), ("fcn-alexnet", "scratch-alexnet")]
)
def test_a_model_without_a_recipe_is_trained_by_its_default(model, recipe):
    assert resolved(model=model).recipe == recipe


def test_without_model_and_recipe_fcn_8s_is_trained():
    assert resolved().recipe == "scratch-fcn8s"


def test_a_run_is_cloned_with_its_data_and_every_option():
    run = resolved("lab-1", seed=5, precision="bf16-mixed")
    assert resolved(like=run) == run


def test_an_option_given_beside_like_wins():
    run = resolved("lab-1", seed=5, width=0.5)
    clone = resolved(like=run, epochs=3, padding="same")
    assert (clone.seed, clone.epochs, clone.network.width, clone.network.padding) == (5, 3, 0.5, "same")


def test_like_and_recipe_contradict_each_other():
    with pytest.raises(OptionError, match="leave out --recipe or --like"):
        resolved("lab-2", like=resolved())


def test_patients_to_validate_on_take_the_place_of_the_recipes_share():
    options = resolved("lab-1", validate=("SC-HF-I-5",))
    assert (options.validate, options.validation_percent) == (("SC-HF-I-5",), None)


def test_a_share_to_validate_on_takes_the_place_of_a_runs_patients():
    options = resolved(like=resolved(validate=("SC-HF-I-5",)), validation_percent=20.0)
    assert (options.validate, options.validation_percent) == ((), 20.0)


def test_leaving_none_out_takes_the_place_of_every_other_split():
    for recipe, like in (("lab-1", None), (None, resolved(validate=("SC-HF-I-5",)))):
        options = resolved(recipe, like, leave_none_out=True, epochs=30)
        assert (options.validate, options.validation_percent, options.leave_none_out) == ((), None, True)
        assert options.validation_interval == 30


def test_leaving_none_out_takes_the_place_of_a_runs_early_stopping():
    stopping = resolved(validate=("SC-HF-I-5",), early_stopping=3)
    assert resolved(like=stopping, leave_none_out=True).early_stopping is None


def test_a_split_takes_the_place_of_leaving_none_out():
    options = resolved(like=resolved(leave_none_out=True), validate=("SC-HF-I-5",))
    assert (options.validate, options.leave_none_out) == (("SC-HF-I-5",), False)


def test_a_clone_that_validates_again_does_so_every_epoch():
    options = resolved(like=resolved(leave_none_out=True), validate=("SC-HF-I-5",), epochs=100)
    assert (options.epochs, options.validation_interval) == (100, 1)


def test_a_clone_that_leaves_none_out_may_be_longer():
    assert resolved(like=resolved(leave_none_out=True), epochs=300).validation_interval == 300


def test_a_window_changes_the_window_alone():
    options = resolved(window=96)
    assert options.augmentation == Augmentation(window=96)


def test_a_spacing_of_the_data_takes_the_place_of_the_recipes():
    assert resolved().working_spacing_mm == RECIPES["scratch-fcn8s"].working_spacing_mm == 1.0
    assert resolved(working_spacing_mm=NOTHING).working_spacing_mm is None


def test_whole_slices_are_a_window_of_no_size():
    assert resolved(window=NOTHING).augmentation.window is None


def test_no_augmentation_is_whole_slices_as_they_are():
    assert resolved(augmentation="none").augmentation == NO_AUGMENTATION


def test_windows_without_augmentation_lie_where_those_with_it_do():
    augmentation = resolved("lab-1", window=64).augmentation
    assert (augmentation.window, augmentation.centred_share) == (64, Augmentation().centred_share)
    assert augmentation.rotation_deg == 0


def test_a_lighter_augmentation_keeps_the_window_of_the_recipe():
    augmentation = resolved(augmentation="light").augmentation
    assert (augmentation.window, augmentation.scale) == (160, LIGHT_AUGMENTATION.scale)


@pytest.mark.parametrize("name", ["early_stopping", "snapshot_interval", "label"])
def test_what_a_cloned_run_has_can_be_taken_back(name):
    run = resolved(**{name: 3})
    assert getattr(resolved(like=run, **{name: NOTHING}), name) is None


@pytest.mark.parametrize(
    ("option", "name"),
    [
        (["--window", "whole"], "window"),
        (["--working-spacing", "median"], "working_spacing_mm"),
        (["--early-stopping", "off"], "early_stopping"),
        (["--snapshot-interval", "off"], "snapshot_interval"),
        (["--pretrained", "none"], "pretrained"),
        (["--label", "any"], "label"),
    ],
)
def test_a_word_stands_for_no_value(option, name):
    @click.command()
    @options(DATA, TRAINING)
    def command(**values: Any) -> None:
        assert given(values) == {name: NOTHING}

    command.main(option, standalone_mode=False)


def test_two_ways_to_divide_the_data_are_refused_before_they_are_read():
    with pytest.raises(OptionError, match="are two ways to divide the data: give one of them"):
        resolved(validate=("SC-HF-I-5",), validation_percent=10.0)


def test_missing_folders_are_named():
    with pytest.raises(click.UsageError, match="--contours required"):
        resolve({"images": Path("/images")}, recipe=None, like=None)


def test_an_impossible_network_is_an_error_of_the_options():
    with pytest.raises(OptionError, match="width must be above 0 and at most 1, got 2"):
        resolved(width=2.0)


def test_options_that_were_not_given_are_left_out():
    assert given({"epochs": None, "validate": (), "seed": 0, "strict": True}) == {"seed": 0, "strict": True}
