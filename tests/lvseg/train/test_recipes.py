import pytest

from lvseg.errors import OptionError
from lvseg.models import build_model
from lvseg.train.recipes import DEFAULT_RECIPES, RECIPES, find_recipe


def test_a_recipe_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(
        OptionError, match="no recipe 'lab-4'; there are lab-1, lab-2, lab-3, scratch-alexnet, scratch-fcn8s"
    ):
        find_recipe("lab-4")


def test_a_recipe_is_found_under_its_own_name():
    assert all(find_recipe(name).recipe == name for name in RECIPES)


def test_the_default_of_a_model_trains_that_model():
    assert all(recipe.model == model for model, recipe in DEFAULT_RECIPES.items())


def test_no_default_needs_pretrained_weights():
    assert not any(recipe.transfer for recipe in DEFAULT_RECIPES.values())


@pytest.mark.parametrize("name", ["lab-1", "lab-2", "scratch-alexnet", "scratch-fcn8s"])
def test_a_recipes_network_can_be_built(name):
    build_model(RECIPES[name].model, RECIPES[name].network)


def test_the_labs_first_training_is_as_its_form_had_it():
    lab = RECIPES["lab-1"]
    assert (lab.solver, lab.momentum, lab.learning_rate, lab.policy) == ("sgd", 0.9, 1e-4, "step")
    assert (lab.step_percent, lab.step_gamma) == (33.0, 0.1)
    assert (lab.batch_size, lab.epochs, lab.validation_percent) == (4, 5, 10.0)


def test_a_step_of_no_length_is_refused():
    with pytest.raises(OptionError, match="--step-percent must be above 0 and at most 100, got 0"):
        RECIPES["lab-1"].but(step_percent=0.0)
