"""The networks, by name."""

from collections.abc import Mapping

from torch import Tensor, nn

from lvseg.errors import OptionError
from lvseg.models.fcn8s import FCN8s
from lvseg.models.fcn_alexnet import FCNAlexNet
from lvseg.models.normalise import Normalise
from lvseg.models.options import NetworkOptions

__all__ = ["ARCHITECTURES", "NetworkOptions", "SegmentationModel", "build_model"]

ARCHITECTURES: Mapping[str, type[FCN8s] | type[FCNAlexNet]] = {"fcn-8s": FCN8s, "fcn-alexnet": FCNAlexNet}


class SegmentationModel(nn.Module):
    """A network with its normalisation: from a slice's pixels to scores.

    Args:
        network: Takes normalised planes (N, C, H, W), gives logits (N, 2, H, W).
    """

    def __init__(self, network: FCN8s | FCNAlexNet) -> None:
        super().__init__()
        self.normalise = Normalise(network.options)
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Return logits (N, 2, H, W), background then left ventricle, of raw pixels (N, 1, H, W)."""
        logits: Tensor = self.network(self.normalise(pixels))
        return logits


def build_model(architecture: str, options: NetworkOptions) -> SegmentationModel:
    """Return a model with random weights.

    Raises:
        OptionError: If ``architecture`` is no key of :data:`ARCHITECTURES`, or cannot have such options.
    """
    if architecture not in ARCHITECTURES:
        raise OptionError(
            f"no model {architecture!r}; known: {', '.join(ARCHITECTURES)}",
            reason="UNKNOWN_MODEL",
            field="--model",
        )
    return SegmentationModel(ARCHITECTURES[architecture](options))
