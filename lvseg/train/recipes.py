"""Recipes: everything that decides how a network is trained, under a name."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from lvseg.data.augmentation import NO_AUGMENTATION, Augmentation
from lvseg.errors import OptionError
from lvseg.models.options import NetworkOptions

Initialisation = Literal["he", "zero"]
Solver = Literal["sgd", "nesterov", "adam", "adamw", "rmsprop"]
Policy = Literal["fixed", "step", "one-cycle"]
Loss = Literal["cross-entropy", "cross-entropy+dice", "cross-entropy+dice+each-dice"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a network is trained, whatever the data. Any option of lvseg-train overrides one of these.

    Raises:
        OptionError: If a value is out of its range.
    """

    recipe: str
    """Its name."""
    summary: str
    model: str
    network: NetworkOptions
    transfer: bool = False
    """Whether it makes sense from ``--pretrained`` weights alone."""
    initialisation: Initialisation = "he"
    """How random weights start; ``"zero"`` is what Caffe does where a prototxt names no filler."""
    epochs: int
    batch_size: int = 4
    accumulate: int = 1
    """Batches whose gradients are averaged into one step."""
    solver: Solver = "adamw"
    learning_rate: float = 1e-3
    """Base rate; of ``"one-cycle"`` the peak."""
    policy: Policy = "one-cycle"
    step_percent: float = 33.0
    """Of ``"step"``: after each such share of the training the rate is multiplied by ``step_gamma``."""
    step_gamma: float = 0.1
    momentum: float = 0.9
    """Of sgd, nesterov and rmsprop."""
    weight_decay: float = 1e-2
    loss: Loss = "cross-entropy+dice+each-dice"
    """Dice of the whole batch, and of each window that holds ventricle."""
    averaged_steps: int = 100
    """Steps over which weights are averaged for validation and use; 0 takes them as they are."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    working_spacing_mm: float | None = None
    """Side of the pixels that the network sees; ``None``: the median of the training slices."""
    validation_percent: float | None = None
    """The lab's split: a seeded random share of the contours, so patients stand on both sides."""

    def __post_init__(self) -> None:
        if not 0 < self.step_percent <= 100:
            raise OptionError(
                f"--step-percent must be above 0 and at most 100, got {self.step_percent:g}",
                reason="INVALID_OPTION",
                field="--step-percent",
            )

    def but(self, **changes: Any) -> Self:
        """Return a copy with some values changed."""
        return dataclasses.replace(self, **changes)


_LAB_1 = Recipe(
    recipe="lab-1",
    summary="the lab's first training: FCN-AlexNet from zeros; learns that all is background",
    model="fcn-alexnet",
    network=NetworkOptions(padding="lab", normalisation="raw-116"),
    initialisation="zero",
    epochs=5,
    solver="sgd",
    learning_rate=1e-4,
    policy="step",
    weight_decay=1e-4,
    loss="cross-entropy",
    averaged_steps=0,
    augmentation=NO_AUGMENTATION,
    validation_percent=10.0,
)

_LAB_2 = _LAB_1.but(
    recipe="lab-2",
    summary="the lab's second: FCN-AlexNet from pretrained weights, the slice in three channels",
    network=NetworkOptions(padding="lab", input_channels=3, normalisation="grey-116"),
    transfer=True,
    initialisation="he",
    epochs=20,
    policy="fixed",
)

_LAB_3 = _LAB_2.but(
    recipe="lab-3",
    summary="the lab's third: FCN-8s from pretrained weights, one slice a step",
    model="fcn-8s",
    network=NetworkOptions(padding="lab", input_channels=3, normalisation="bgr-means"),
    batch_size=1,
)

_SMALL = NetworkOptions(padding="same", norm="batch", upsampling="learned", fc_channels=256, dropout=0.1)

# Pixels finer than the scanner's: a small cavity is then more than one cell of the networks' coarse scores.
_SCRATCH_FCN8S = Recipe(
    recipe="scratch-fcn8s",
    summary="FCN-8s of a quarter of the width from random weights",
    model="fcn-8s",
    network=dataclasses.replace(_SMALL, width=0.25),
    epochs=150,
    learning_rate=7e-4,
    augmentation=Augmentation(window=160),
    working_spacing_mm=1.0,
)

_SCRATCH_ALEXNET = _SCRATCH_FCN8S.but(
    recipe="scratch-alexnet",
    summary="FCN-AlexNet of half the width from random weights, for fast inference",
    model="fcn-alexnet",
    network=dataclasses.replace(_SMALL, width=0.5),
    epochs=200,
    learning_rate=1e-3,
    augmentation=Augmentation(window=192),
    working_spacing_mm=0.8,
)

RECIPES: Mapping[str, Recipe] = {
    recipe.recipe: recipe for recipe in (_LAB_1, _LAB_2, _LAB_3, _SCRATCH_ALEXNET, _SCRATCH_FCN8S)
}

DEFAULT_RECIPES: Mapping[str, Recipe] = {"fcn-8s": _SCRATCH_FCN8S, "fcn-alexnet": _SCRATCH_ALEXNET}
"""What each model is trained by where no recipe is named."""


def find_recipe(name: str) -> Recipe:
    """Return the recipe of a name.

    Raises:
        OptionError: If there is none; the message lists those there are.
    """
    if name not in RECIPES:
        raise OptionError(
            f"no recipe {name!r}; there are {', '.join(RECIPES)}",
            reason="UNKNOWN_RECIPE",
            field="--recipe",
            expected=", ".join(RECIPES),
        )
    return RECIPES[name]
