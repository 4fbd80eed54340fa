"""torchvision's names for the layers of VGG-16 and AlexNet."""

from collections.abc import Iterable, Mapping

VGG16: Mapping[str, str] = {
    "features.0": "conv1_1",
    "features.2": "conv1_2",
    "features.5": "conv2_1",
    "features.7": "conv2_2",
    "features.10": "conv3_1",
    "features.12": "conv3_2",
    "features.14": "conv3_3",
    "features.17": "conv4_1",
    "features.19": "conv4_2",
    "features.21": "conv4_3",
    "features.24": "conv5_1",
    "features.26": "conv5_2",
    "features.28": "conv5_3",
    "classifier.0": "fc6",
    "classifier.3": "fc7",
    "classifier.6": "fc8",
}
ALEXNET: Mapping[str, str] = {
    "features.0": "conv1",
    "features.3": "conv2",
    "features.6": "conv3",
    "features.8": "conv4",
    "features.10": "conv5",
    "classifier.1": "fc6",
    "classifier.4": "fc7",
    "classifier.6": "fc8",
}


def published_names(layers: Iterable[str]) -> Mapping[str, str] | None:
    """Return the published name of each layer of a torchvision network, ``None`` where it is neither's."""
    found = set(layers)
    return next((names for names in (VGG16, ALEXNET) if found == set(names)), None)
