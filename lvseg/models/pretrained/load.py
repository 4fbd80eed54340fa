"""From a file's weights to a model's."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lvseg.errors import WeightsError
from lvseg.models import ARCHITECTURES, SegmentationModel
from lvseg.models.folding import first_convolution
from lvseg.models.normalise import EQUAL_PLANES
from lvseg.models.pretrained.files import Weights, WeightsFile, read_weights
from lvseg.models.pretrained.identify import identify

_MISSING = "-"
_Values = TypeVar("_Values")


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """What a model has taken from a file."""

    path: Path
    kind: str
    taken: tuple[str, ...]
    """Layers whose weights are the file's."""
    folded: tuple[str, ...]
    """Those of them whose three planes were added up into one."""
    started_anew: Mapping[str, str]
    """Layers whose weights are not the file's, and why."""
    unused: tuple[str, ...]
    """Layers of the file that the model does not have."""
    normalisation_known: bool
    """Whether the file tells what its network's input was like."""

    def describe(self) -> str:
        """Return one line that says it all."""
        parts = [f"{len(self.taken)} layers taken ({self.taken[0]} to {self.taken[-1]})"]
        parts += [f"{name} folded over its three planes" for name in self.folded]
        if self.started_anew:
            parts.append(
                "started anew: " + ", ".join(f"{name} ({why})" for name, why in self.started_anew.items())
            )
        if self.unused:
            parts.append(f"not used: {', '.join(self.unused)}")
        if not self.normalisation_known:
            parts.append("the file does not say which normalisation it was trained with")
        return f"weights from {self.path} ({self.kind}): {'; '.join(parts)}"


@dataclass
class _Plan:
    """What is to be done, before anything is."""

    weights: dict[str, NDArray[Any]] = field(default_factory=dict)
    """By parameter."""
    taken: list[str] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)
    anew: dict[str, str] = field(default_factory=dict)
    differing: list[tuple[str, str, str]] = field(default_factory=list)
    """Parameter, its shape in the file and in the model."""


def load_pretrained(model: SegmentationModel, file: Path) -> Pretrained:
    """Take a model's weights from a file: all layers, or none and an error.

    Fully connected weights become convolutions. Layers of class scores, ``score*`` and ``upscore*``, are
    started anew where the file has none or has other classes, and ``upscore*`` where the file's are not bilinear
    and the model's are fixed. A model of one plane takes the weights of three whose values are the same, added up.

    Args:
        model: The model to fill; after an error it is as it was.
        file: A .caffemodel, a state dict of torchvision, safetensors, a checkpoint of lvseg or a run folder.

    Raises:
        WeightsError: If the file is broken or the weights are another network's; ``table`` shows where.
    """
    read = read_weights(file)
    plan = _plan(model, read)
    remedy = _remedy(model, read)
    if plan.differing or remedy:
        raise _differs(model, read, plan, remedy)
    _check_finite(read, plan)
    _fill(model.network, plan)
    return Pretrained(
        path=file,
        kind=read.kind,
        taken=tuple(plan.taken),
        folded=tuple(plan.folded),
        started_anew=plan.anew,
        unused=tuple(_unused(model.network, read)),
        normalisation_known=bool(read.normalisations),
    )


def _layers(network: nn.Module) -> Mapping[str, Mapping[str, Tensor]]:
    """Return the weights of each layer that has any."""
    layers = {name: _without_counters(layer.state_dict()) for name, layer in network.named_children()}
    return {name: weights for name, weights in layers.items() if weights}


def _without_counters(weights: Mapping[str, _Values]) -> dict[str, _Values]:
    """Leave out what batch normalisation counts and no score depends on."""
    return {key: values for key, values in weights.items() if not key.endswith("num_batches_tracked")}


def _plan(model: SegmentationModel, file: WeightsFile) -> _Plan:
    plan = _Plan()
    first = first_convolution(model.network)
    for name, wanted in _layers(model.network).items():
        found = _without_counters(file.layers.get(name, {}))
        fitted = {key: _fit(found.get(key), tuple(value.shape)) for key, value in wanted.items()}
        if name == first and fitted["weight"] is None and _can_fold(model, found, wanted["weight"]):
            fitted["weight"] = found["weight"].sum(axis=1, keepdims=True)
            plan.folded.append(name)
        fits = set(found) == set(wanted) and all(value is not None for value in fitted.values())
        if fits and _is_other_fixed(model, name, fitted["weight"], wanted["weight"]):
            plan.anew[name] = "another kernel in the file, bilinear with --upsampling fixed"
        elif fits:
            plan.taken.append(name)
            plan.weights |= {f"{name}.{key}": value for key, value in fitted.items() if value is not None}
        elif (why := _reason_to_start_anew(name, found, wanted)) is not None:
            plan.anew[name] = why
        else:
            plan.differing += [
                (f"{name}.{key}", _shape(found.get(key)), _shape(wanted.get(key)))
                for key in dict.fromkeys((*wanted, *found))
                if key not in wanted or fitted[key] is None
            ]
    return plan


def _fit(found: NDArray[Any] | None, shape: tuple[int, ...]) -> NDArray[Any] | None:
    """Return values in the shape wanted, ``None`` where they are other ones.

    Caffe's older blobs have four dimensions, a fully connected layer's two behind two ones. Such a layer is
    a convolution whose kernel is as large as its input: the values stand in the same order.
    """
    if found is None or found.shape == shape:
        return found
    core = found.shape
    while len(core) > 1 and core[0] == 1:
        core = core[1:]
    if len(shape) == 1:
        return found.reshape(shape) if core == shape else None
    fully_connected = len(core) == 2 and core == (shape[0], math.prod(shape[1:]))
    return found.reshape(shape) if fully_connected else None


def _can_fold(model: SegmentationModel, found: Weights, wanted: Tensor) -> bool:
    outputs, planes, *kernel = wanted.shape
    return (
        planes == 1
        and model.network.options.normalisation in EQUAL_PLANES
        and "weight" in found
        and found["weight"].shape == (outputs, 3, *kernel)
    )


def _is_other_fixed(model: SegmentationModel, name: str, found: NDArray[Any] | None, wanted: Tensor) -> bool:
    """Return whether a kernel that is never trained here would be another one than bilinear."""
    return (
        name.startswith("upscore")
        and model.network.options.upsampling == "fixed"
        and found is not None
        and not np.allclose(found, wanted.numpy(force=True), rtol=0, atol=1e-5)
    )


def _reason_to_start_anew(name: str, found: Weights, wanted: Mapping[str, Tensor]) -> str | None:
    """Return why a layer cannot be the file's, ``None`` where it should have been."""
    if not name.startswith(("score", "upscore")):
        return None
    if "weight" not in found:
        return "not in the file"
    classes, here = found["weight"].shape[0], wanted["weight"].shape[0]
    if classes != here:
        return f"{classes} classes in the file, {here} here"
    # A bilinear weight needs no file.
    return "another shape in the file" if name.startswith("upscore") else None


def _shape(values: NDArray[Any] | Tensor | None) -> str:
    return _MISSING if values is None else " x ".join(map(str, values.shape))


def _architecture(model: SegmentationModel) -> str:
    return next(name for name, network in ARCHITECTURES.items() if isinstance(model.network, network))


def _remedy(model: SegmentationModel, file: WeightsFile) -> str:
    """Return what the user can do for the model to fit; empty where it fits."""
    options = model.network.options
    identity = identify(file, like=options)
    if identity is None:
        return "it holds neither FCN-AlexNet, FCN-8s, AlexNet nor VGG-16 as Caffe or torchvision name them"
    if identity.width is None or identity.fc_channels is None:
        lacking = "fc6 and fc7" if identity.fc_channels is None else "channels in the published proportions"
        return f"it is like {identity.architecture}, but without {lacking}; take another file"
    normalisation = options.normalisation
    if file.normalisations and normalisation not in file.normalisations:
        normalisation = file.normalisations[0]
    folds = options.input_channels == 1 and normalisation in EQUAL_PLANES
    wanted: Mapping[str, tuple[object, object]] = {
        "--model": (_architecture(model), identity.architecture),
        "--trunk": (options.trunk, identity.trunk),
        "--width": (options.width, identity.width),
        "--fc-channels": (options.fc_channels, identity.fc_channels),
        "--norm": (options.norm, identity.norm),
        "--input-channels": (options.input_channels, 1 if folds else identity.input_channels),
        "--normalisation": (options.normalisation, normalisation),
    }
    flags = " ".join(f"{flag} {value}" for flag, (has, value) in wanted.items() if has != value)
    return f"these are weights for {flags}" if flags else ""


def _differs(model: SegmentationModel, file: WeightsFile, plan: _Plan, remedy: str) -> WeightsError:
    architecture = _architecture(model)
    if not plan.differing:
        return WeightsError(
            f"{file.path} ({file.kind}) fits {architecture}, but was trained on other input than "
            f"--normalisation {model.network.options.normalisation}; {remedy}",
            reason="OTHER_INPUT",
        )
    parameter, found, wanted = plan.differing[0]
    only_in_file = [
        (f"{name}.{key}", _shape(values), _MISSING)
        for name in _unused(model.network, file)
        for key, values in _without_counters(file.layers[name]).items()
    ]
    return WeightsError(
        f"{file.path} ({file.kind}) does not fit this {architecture}: {len(plan.differing)} weights differ, the "
        f"first is {parameter} (file {found}, model {wanted}); {remedy or 'take another file'}",
        reason="OTHER_WEIGHTS",
        table=_table([*plan.differing, *only_in_file]),
    )


def _unused(network: nn.Module, file: WeightsFile) -> list[str]:
    layers = _layers(network)
    return [name for name in file.layers if name not in layers]


def _table(rows: Sequence[tuple[str, str, str]]) -> str:
    """Return rows under a heading, in columns as wide as their widest entry."""
    columns = tuple(zip(("layer", "file", "model"), *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    return "\n".join(
        "  ".join(entry.ljust(width) for entry, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*columns, strict=True)
    )


def _check_finite(file: WeightsFile, plan: _Plan) -> None:
    largest = float(np.finfo(np.float32).max)
    for name, values in plan.weights.items():
        # No copy of the values is made for this; NaN is on neither side of a limit.
        if not (values.min() >= -largest and values.max() <= largest):
            raise WeightsError(
                f"{file.path}: {name} holds values that are not finite; take another file",
                reason="BROKEN_WEIGHTS",
            )


def _fill(network: nn.Module, plan: _Plan) -> None:
    parameters = network.state_dict()
    with torch.no_grad():
        for name, values in plan.weights.items():
            # A blob in a file may lie at any byte; torch wants its own copy.
            parameters[name].copy_(torch.from_numpy(np.array(values, np.float32)))
        for name in plan.anew:
            if name.startswith("score"):
                for parameter in network.get_submodule(name).parameters():
                    parameter.zero_()
