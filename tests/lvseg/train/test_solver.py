import pytest
import torch

from lvseg.train.recipes import RECIPES
from lvseg.train.solver import new_policy, new_solver


def rates(policy: str, steps: int = 100, **changes: float) -> list[float]:
    """The rate of each step of a training at a base rate of 1."""
    recipe = RECIPES["lab-1"].but(policy=policy, learning_rate=1.0, **changes)
    solver = new_solver([torch.nn.Parameter(torch.zeros(1))], recipe)
    schedule = new_policy(solver, recipe, steps=steps)
    drawn = []
    for _ in range(steps):
        drawn.append(solver.param_groups[0]["lr"])
        solver.step()
        schedule.step()
    return drawn


def test_a_fixed_rate_stays():
    assert rates("fixed") == [1.0] * 100


def test_a_step_comes_after_each_share_of_the_training():
    # 33% of 100 steps: three drops by a factor of ten, the last of them for a single step.
    expected = [1.0] * 33 + [0.1] * 33 + [0.01] * 33 + [0.001]
    assert rates("step", step_percent=33.0, step_gamma=0.1) == pytest.approx(expected)


def test_one_cycle_rises_to_the_rate_and_falls_to_almost_nothing():
    drawn = rates("one-cycle")
    assert max(drawn) == pytest.approx(1.0, abs=0.01)
    assert drawn.index(max(drawn)) == pytest.approx(30, abs=2)
    assert drawn[-1] < 1e-3


@pytest.mark.parametrize(
    ("solver", "kind"),
    [
        ("sgd", torch.optim.SGD),
        ("nesterov", torch.optim.SGD),
        ("adam", torch.optim.Adam),
        ("adamw", torch.optim.AdamW),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_a_solver_has_the_recipes_rate_and_decay(solver, kind):
    recipe = RECIPES["lab-1"].but(solver=solver, learning_rate=0.25, weight_decay=0.125)
    optimiser = new_solver([torch.nn.Parameter(torch.zeros(1))], recipe)
    assert type(optimiser) is kind
    group = optimiser.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.25, 0.125)
    assert group.get("nesterov", False) is (solver == "nesterov")


def test_weights_that_are_fixed_are_left_alone():
    fixed, trained = torch.nn.Parameter(torch.ones(1), requires_grad=False), torch.nn.Parameter(torch.ones(1))
    optimiser = new_solver([fixed, trained], RECIPES["scratch-fcn8s"])
    assert optimiser.param_groups[0]["params"] == [trained]
