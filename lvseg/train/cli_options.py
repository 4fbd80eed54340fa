"""The options of lvseg-train, as groups, and how they come to a training's exact options.

No option of a recipe has a default of its own: what is not given, the recipe decides.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, get_args

import click

from lvseg.data.augmentation import AUGMENTATIONS, Augmentation
from lvseg.data.sources import LABEL_FORMATS
from lvseg.errors import OptionError
from lvseg.models import ARCHITECTURES, NetworkOptions
from lvseg.models.options import Norm, Normalisation, Padding, Trunk, Upsampling
from lvseg.train.options import TrainOptions
from lvseg.train.recipes import (
    DEFAULT_RECIPES,
    RECIPES,
    Initialisation,
    Loss,
    Policy,
    Recipe,
    Solver,
    find_recipe,
)

_Decorator: TypeAlias = Callable[[Any], Any]

FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_NETWORK = frozenset(field.name for field in dataclasses.fields(NetworkOptions))
_POSITIVE = click.FloatRange(0, min_open=True)
_COUNT = click.IntRange(1)


NOTHING = object()
"""What a user gives to have ``None``, by a word."""


class _Or(click.ParamType[Any]):
    """A value, or a word that stands for none."""

    def __init__(self, word: str, value: click.ParamType[Any], name: str) -> None:
        self.name = name
        self._word = word
        self._value = value

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002 - of click's interface
        return f"{self.name}|{self._word}"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return NOTHING if value == self._word else self._value.convert(value, param, ctx)


DATA = (
    click.option(
        "--images", type=FOLDER, help="Folder with the images, searched with all below it. Required."
    ),
    click.option("--contours", type=FOLDER, help="Folder with the labels, searched likewise. Required."),
    click.option(
        "--label-format",
        type=click.Choice(list(LABEL_FORMATS)),
        help=f"What the labels are.  [default: {TrainOptions.label_format}]",
    ),
    click.option(
        "--label",
        type=_Or("any", _COUNT, "INTEGER"),
        help="Value, or segment, of the ventricle where labels name several structures.",
    ),
    click.option(
        "--validate",
        multiple=True,
        metavar="PATIENT",
        help="Keep this patient for validation; repeat the option for more. This, --validation-percent, "
        "--leave-none-out or --cross-validate is required, or a recipe that has one.",
    ),
    click.option(
        "--validation-percent",
        type=click.FloatRange(0, 100, min_open=True, max_open=True),
        help="Validate on a random share of the contours, whoever's they are: flatters.",
    ),
    click.option(
        "--leave-none-out",
        is_flag=True,
        default=None,
        help="Train on every slice: for the model to be used, once --cross-validate has told what its recipe is "
        "worth. Its own figures are of the slices that it was trained on.",
    ),
    click.option(
        "--strict/--no-strict", default=None, help="Refuse data of which any contour cannot be used."
    ),
    click.option(
        "--working-spacing",
        "working_spacing_mm",
        type=_Or("median", click.FloatRange(0.2, 5), "MM"),
        help="Pixel spacing that the network sees; median: that of the training slices.",
    ),
)

NETWORK = (
    click.option("--model", type=click.Choice(list(ARCHITECTURES)), help="The network."),
    click.option(
        "--trunk", type=click.Choice(get_args(Trunk)), help="Whose AlexNet: torchvision's is another."
    ),
    click.option("--input-channels", type=int, help="Planes of the input; 3 repeats the slice."),
    click.option(
        "--normalisation",
        type=click.Choice(get_args(Normalisation)),
        help="From a slice's pixels to the input; what published weights want is in docs/pretrained.md.",
    ),
    click.option("--width", type=float, help="Channels of the trunk, as a share of the published."),
    click.option("--fc-channels", type=int, help="Channels of fc6 and fc7; published: 4096."),
    click.option("--norm", type=click.Choice(get_args(Norm)), help="Normalisation layers; published: none."),
    click.option(
        "--padding",
        type=click.Choice(get_args(Padding)),
        help="lab: 100 pixels around the slice, as published; same: none, a third of the work.",
    ),
    click.option(
        "--upsampling",
        type=click.Choice(get_args(Upsampling)),
        help="Of the scores; published: fixed, bilinear.",
    ),
    click.option("--dropout", type=float, help="In fc6 and fc7; published: 0.5."),
)

TRAINING = (
    click.option(
        "--pretrained",
        type=_Or("none", click.Path(exists=True, path_type=Path), "FILE"),
        help="Start from these weights: a .caffemodel, torchvision's .pth, a .safetensors file, or a run.",
    ),
    click.option(
        "--initialisation",
        type=click.Choice(get_args(Initialisation)),
        help="Of weights that start at random.",
    ),
    click.option("--epochs", type=_COUNT, help="Times through the data."),
    click.option(
        "--batch-size",
        type=_COUNT,
        multiple=True,
        help="Windows a step, over all devices; repeat the option for a training each.",
    ),
    click.option("--accumulate", type=_COUNT, help="Batches whose gradients make one step."),
    click.option("--solver", type=click.Choice(get_args(Solver)), help="What takes the steps."),
    click.option(
        "--learning-rate",
        type=_POSITIVE,
        multiple=True,
        help="Base rate, of one-cycle the peak; repeat the option for a training each.",
    ),
    click.option("--policy", type=click.Choice(get_args(Policy)), help="How the rate changes."),
    click.option(
        "--step-percent", type=_POSITIVE, help="Of the policy step: share of the training between two steps."
    ),
    click.option("--step-gamma", type=_POSITIVE, help="Of the policy step: factor at each."),
    click.option(
        "--momentum", type=click.FloatRange(0, 1, max_open=True), help="Of sgd, nesterov and rmsprop."
    ),
    click.option("--weight-decay", type=click.FloatRange(0), help="Of the solver."),
    click.option("--loss", type=click.Choice(get_args(Loss)), help="What is made small."),
    click.option(
        "--averaged-steps",
        type=click.IntRange(0),
        help="Steps over which weights are averaged for validation and use; 0: none.",
    ),
    click.option(
        "--augmentation",
        type=click.Choice(list(AUGMENTATIONS)),
        help="Whether training windows vary; the numbers are in options.json.",
    ),
    click.option(
        "--window",
        type=_Or("whole", click.IntRange(64), "PIXELS"),
        help="Side of the training windows in pixels of the working grid, or whole slices.",
    ),
    click.option(
        "--validation-interval",
        type=_COUNT,
        help=f"Epochs between validations; it has to divide --epochs.  [default: {TrainOptions.validation_interval}]",
    ),
    click.option(
        "--snapshot-interval",
        type=_Or("off", _COUNT, "EPOCHS"),
        help="Keep a checkpoint every so many epochs.",
    ),
    click.option(
        "--early-stopping",
        type=_Or("off", _COUNT, "VALIDATIONS"),
        help="Stop after so many without a better Dice.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0),
        help=f"Of weights, order and augmentation.  [default: {TrainOptions.seed}]",
    ),
)

MACHINE = (
    click.option(
        "--precision",
        type=click.Choice(["32-true", "bf16-mixed", "16-mixed"]),
        help=f"Arithmetic of the training; 16-mixed needs a GPU.  [default: {TrainOptions.precision}]",
    ),
    click.option("--devices", type=_COUNT, help=f"Devices a machine.  [default: {TrainOptions.devices}]"),
    click.option("--nodes", type=_COUNT, help=f"Machines.  [default: {TrainOptions.nodes}]"),
    click.option("--compile/--no-compile", default=None, help="Compile the network: wants a C++ compiler."),
    click.option(
        "--workers",
        type=click.IntRange(0),
        help="Processes that prepare windows.  [default: 0; with a GPU all cores but one, up to 8]",
    ),
)


def options(*groups: tuple[_Decorator, ...]) -> _Decorator:
    """Return one decorator of all the options of some groups, in their order."""

    def decorate(command: Any) -> Any:
        for option in reversed([option for group in groups for option in group]):
            command = option(command)
        return command

    return decorate


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that the user gave."""
    return {name: value for name, value in values.items() if value is not None and value != ()}


def resolve(values: Mapping[str, Any], *, recipe: str | None, like: TrainOptions | None) -> TrainOptions:
    """Return the exact options that follow from what was given.

    Args:
        values: The options given, each with one value.
        recipe: The recipe named.
        like: Options of a run to be cloned, in the place of a recipe.

    Raises:
        OptionError: If something is missing or impossible.
    """
    if recipe and like:
        raise OptionError(
            "--like takes the recipe of the run; leave out --recipe or --like",
            reason="INVALID_OPTION",
            field="--like",
        )
    base: Recipe = like or (find_recipe(recipe) if recipe else DEFAULT_RECIPES[values.get("model", "fcn-8s")])
    changed = {name: _plain(value) for name, value in values.items() if name not in _NETWORK}
    _choose_split(changed, base)
    try:
        network = dataclasses.replace(
            base.network, **{name: values[name] for name in _NETWORK & values.keys()}
        )
    except ValueError as error:
        raise OptionError(str(error), reason="INVALID_OPTION", field="--model") from error
    missing = [f"--{name}" for name in ("images", "contours") if not (name in changed or like)]
    if missing:
        raise click.UsageError(f"{' and '.join(missing)} required (or --like RUN, or --resume RUN)")
    augmentation = _augmentation(base.augmentation, changed)
    return TrainOptions.following(base, **changed, network=network, augmentation=augmentation)


def _choose_split(changed: dict[str, Any], base: Recipe) -> None:
    """Let the way to divide the data that was given take the place of the one that the recipe or the run has.

    Raises:
        OptionError: If two were given.
    """
    ways = {"validate": (), "validation_percent": None, "leave_none_out": False}
    given = [f"--{name.replace('_', '-')}" for name in ways if name in changed]
    if len(given) > 1:
        raise OptionError(
            f"{' and '.join(given)} are two ways to divide the data: give one of them",
            reason="TWO_SPLITS",
            field=given[-1],
        )
    if given:
        changed.update({name: none for name, none in ways.items() if name not in changed})
    left_none_out = isinstance(base, TrainOptions) and base.leave_none_out
    if changed.get("leave_none_out", left_none_out):
        # The last epoch is judged and no other, so that there is nothing to stop by.
        changed.setdefault("validation_interval", changed.get("epochs", base.epochs))
        changed.setdefault("early_stopping", None)
    elif left_none_out:
        changed.setdefault("validation_interval", TrainOptions.validation_interval)


def _augmentation(base: Augmentation, changed: dict[str, Any]) -> Augmentation:
    if "augmentation" in changed:
        named = AUGMENTATIONS[changed.pop("augmentation")]
        base = dataclasses.replace(named, window=named.window and (base.window or named.window))
    return dataclasses.replace(base, window=changed.pop("window", base.window))


def _plain(value: Any) -> Any:
    """Return a value as a run records it: paths in full, as text."""
    if value is NOTHING:
        return None
    return str(value.resolve()) if isinstance(value, Path) else value


def recipe_table() -> str:
    """Return a line for each recipe, with what it is for."""
    width = max(map(len, RECIPES))
    return "\n".join(f"{name:{width}}  {recipe.summary}" for name, recipe in RECIPES.items())
