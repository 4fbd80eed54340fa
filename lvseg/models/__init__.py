"""The networks, by name."""

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from torch import Tensor, nn

from lvseg.errors import OptionError
from lvseg.models.fcn8s import FCN8s, FCN8sOptions
from lvseg.models.fcn_alexnet import FCNAlexNet, FCNAlexNetOptions
from lvseg.models.normalise import Normalise

__all__ = ["ARCHITECTURES", "SegmentationModel", "build_model"]

ARCHITECTURES: Mapping[str, tuple[type[nn.Module], type[Any]]] = {
    "fcn-8s": (FCN8s, FCN8sOptions),
    "fcn-alexnet": (FCNAlexNet, FCNAlexNetOptions),
}


class SegmentationModel(nn.Module):
    """A network with its normalisation: from a slice's pixels to scores.

    Args:
        network: Takes normalised slices (N, 1, H, W), gives logits (N, 2, H, W).
        network_options: What the network was built with.
    """

    def __init__(self, network: nn.Module, network_options: Mapping[str, Any]) -> None:
        super().__init__()
        self.normalise = Normalise()
        self.network = network
        self.network_options = dict(network_options)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, 2, H, W), background then left ventricle, of raw pixels (N, 1, H, W)."""
        logits: Tensor = self.network(self.normalise(pixels))
        return logits


def build_model(architecture: str, options: Mapping[str, Any] | None = None) -> SegmentationModel:
    """Return a model with random weights.

    Args:
        architecture: A key of :data:`ARCHITECTURES`.
        options: Fields of the architecture's options class; the rest keep their defaults.

    Raises:
        OptionError: If the architecture or an option does not exist, or a value is impossible.
    """
    if architecture not in ARCHITECTURES:
        raise OptionError(
            f"no model {architecture!r}; known: {', '.join(ARCHITECTURES)}",
            reason="UNKNOWN_MODEL",
            field="--model",
        )
    network_type, options_type = ARCHITECTURES[architecture]
    known = [field.name for field in fields(options_type)]
    unknown = sorted(set(options or {}) - set(known))
    if unknown:
        raise OptionError(
            f"{architecture} has no option {unknown[0]!r}; known: {', '.join(known)}",
            reason="UNKNOWN_MODEL_OPTION",
            field="--model-option",
        )
    try:
        chosen = options_type(**(options or {}))
    except ValueError as error:
        raise OptionError(
            f"{architecture}: {error}", reason="INVALID_MODEL_OPTION", field="--model-option"
        ) from error
    return SegmentationModel(network_type(chosen), asdict(chosen))
