"""Which network a file's weights belong to, told from names and shapes alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lvseg.models.options import NetworkOptions, Norm, Trunk
from lvseg.models.pretrained.files import WeightsFile

_FCN_8S = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
_FCN_ALEXNET = ("conv1", "conv2", "conv3", "conv4", "conv5")
_CHANNELS: Mapping[tuple[str, Trunk], Sequence[int]] = {
    ("fcn-8s", "published"): (64, 128, 256, 512, 512),
    ("fcn-alexnet", "published"): (96, 256, 384, 384, 256),
    ("fcn-alexnet", "torchvision"): (64, 192, 384, 256, 256),
}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What a model has to be like to take a file's weights."""

    architecture: str
    trunk: Trunk
    width: float | None
    """``None`` where the channels are no share of the published ones."""
    fc_channels: int | None
    """``None`` where there is no fc6."""
    input_channels: int
    norm: Norm


def identify(file: WeightsFile, *, like: NetworkOptions) -> Identity | None:
    """Return which network's weights a file holds, ``None`` if neither's.

    Several widths may come to the same channels: the one of ``like`` is preferred.
    """
    for architecture, names in (("fcn-8s", _FCN_8S), ("fcn-alexnet", _FCN_ALEXNET)):
        weights = [file.layers.get(name, {}).get("weight") for name in names]
        shapes = [weight.shape for weight in weights if weight is not None and weight.ndim == 4]
        if len(shapes) < len(names):
            continue
        # Two groups see half the channels each.
        grouped = architecture == "fcn-8s" or 2 * shapes[1][1] == shapes[0][0]
        trunk: Trunk = "published" if grouped else "torchvision"
        fc6 = file.layers.get("fc6", {}).get("bias", file.layers.get("fc6", {}).get("norm.bias"))
        return Identity(
            architecture=architecture,
            trunk=trunk,
            width=_width([shape[0] for shape in shapes], _CHANNELS[architecture, trunk], first=like.width),
            fc_channels=None if fc6 is None else fc6.size,
            input_channels=shapes[0][1],
            norm="batch" if "norm.weight" in file.layers[names[0]] else "none",
        )
    return None


def _width(channels: Sequence[int], published: Sequence[int], *, first: float) -> float | None:
    shares = (round(found / full, 4) for found, full in zip(channels, published, strict=True))
    for share in (first, *shares):
        if 0 < share <= 1:
            options = NetworkOptions(width=share)
            if [options.channels(full) for full in published] == list(channels):
                return share
    return None
