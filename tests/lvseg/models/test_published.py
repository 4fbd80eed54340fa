"""The networks as published: layer names, shapes of weights, and the sizes that the prototxts work out to."""

import pytest
import torch

from lvseg.errors import OptionError
from lvseg.models import NetworkOptions, build_model
from lvseg.models.layers import LocalResponseNorm

# name: (outputs, inputs a group, kernel), as in the published prototxts.
FCN_ALEXNET = {
    "conv1": (96, 1, 11),
    "conv2": (256, 48, 5),
    "conv3": (384, 256, 3),
    "conv4": (384, 192, 3),
    "conv5": (256, 192, 3),
    "fc6": (4096, 256, 6),
    "fc7": (4096, 4096, 1),
    "score_fr": (2, 4096, 1),
    "upscore": (2, 1, 63),
}
FCN_8S = {
    "conv1_1": (64, 1, 3),
    "conv1_2": (64, 64, 3),
    "conv2_1": (128, 64, 3),
    "conv2_2": (128, 128, 3),
    "conv3_1": (256, 128, 3),
    "conv3_2": (256, 256, 3),
    "conv3_3": (256, 256, 3),
    "conv4_1": (512, 256, 3),
    "conv4_2": (512, 512, 3),
    "conv4_3": (512, 512, 3),
    "conv5_1": (512, 512, 3),
    "conv5_2": (512, 512, 3),
    "conv5_3": (512, 512, 3),
    "fc6": (4096, 512, 7),
    "fc7": (4096, 4096, 1),
    "score_fr": (2, 4096, 1),
    "score_pool4": (2, 512, 1),
    "score_pool3": (2, 256, 1),
    "upscore2": (2, 2, 4),
    "upscore_pool4": (2, 2, 4),
    "upscore8": (2, 2, 16),
}


TORCHVISION_ALEXNET = {
    "conv1": (64, 1, 11),
    "conv2": (192, 64, 5),
    "conv3": (384, 192, 3),
    "conv4": (256, 384, 3),
    "conv5": (256, 256, 3),
    "fc6": (4096, 256, 6),
    "fc7": (4096, 4096, 1),
    "score_fr": (2, 4096, 1),
    "upscore": (2, 1, 63),
}
NETWORKS = [
    ("fcn-alexnet", "published", FCN_ALEXNET),
    ("fcn-alexnet", "torchvision", TORCHVISION_ALEXNET),
    ("fcn-8s", "published", FCN_8S),
]


def published(architecture: str, trunk: str = "published") -> torch.nn.Module:
    # On the meta device: 134 million weights have shapes there, and no values.
    with torch.device("meta"):
        return build_model(architecture, NetworkOptions(trunk=trunk)).network


@pytest.mark.parametrize(("architecture", "trunk", "layers"), NETWORKS)
def test_layers_have_the_published_names_and_shapes(architecture, trunk, layers):
    weights = published(architecture, trunk).state_dict()
    shapes = {name: tuple(weight.shape) for name, weight in weights.items() if name.endswith(".weight")}
    assert shapes == {
        f"{name}.weight": (outputs, inputs, kernel, kernel)
        for name, (outputs, inputs, kernel) in layers.items()
    }


@pytest.mark.parametrize(("architecture", "trunk", "layers"), NETWORKS)
def test_every_layer_but_the_upsampling_has_a_bias(architecture, trunk, layers):
    weights = published(architecture, trunk).state_dict()
    biases = {name.removesuffix(".bias") for name in weights if name.endswith("bias")}
    assert biases == {name for name in layers if not name.startswith("upscore")}


def test_torchvisions_alexnet_has_no_local_response_normalisation():
    kinds = {type(layer) for layer in published("fcn-alexnet", "torchvision").modules()}
    assert LocalResponseNorm not in kinds
    assert LocalResponseNorm in {type(layer) for layer in published("fcn-alexnet").modules()}


def test_fcn_8s_has_one_trunk():
    with pytest.raises(OptionError, match="torchvision's VGG-16 is the published one; leave --trunk out"):
        build_model("fcn-8s", NetworkOptions(trunk="torchvision"))


def sizes(architecture: str, side: int) -> dict[str, int]:
    """Return the side of each layer's output for a square slice."""
    network = published(architecture)
    found: dict[str, int] = {}
    for name, layer in network.named_children():
        layer.register_forward_hook(lambda _l, _i, output, name=name: found.update({name: output.shape[-1]}))
    network(torch.empty(1, 1, side, side, device="meta"))
    return found


def test_fcn_alexnet_works_out_to_the_sizes_of_the_prototxt():
    # conv1: (256 + 200 - 11) // 4 + 1 = 112; pools, rounded up: 56, 28, 14; fc6: 14 - 5 = 9;
    # upscore: 8 * 32 + 63 = 319, of which 256 are taken from 18 on.
    found = sizes("fcn-alexnet", 256)
    assert {name: found[name] for name in ("conv1", "conv2", "conv5", "pool", "fc6", "score_fr", "upscore")} == {
        "conv1": 112, "conv2": 56, "conv5": 28, "pool": 14, "fc6": 9, "score_fr": 9, "upscore": 319,
    }  # fmt: skip


def test_fcn_8s_works_out_to_the_sizes_of_the_prototxt():
    # conv1_1: 256 + 200 - 2 = 454; pools, rounded up: 227, 114, 57, 29, 15; fc6: 15 - 6 = 9;
    # upscore2: 8 * 2 + 4 = 20, plus pool4's 29 cropped at 5; upscore_pool4: 19 * 2 + 4 = 42, plus pool3's 57
    # cropped at 9; upscore8: 41 * 8 + 16 = 344, of which 256 are taken from 31 on.
    found = sizes("fcn-8s", 256)
    assert {name: found[name] for name in ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1", "fc6")} == {
        "conv1_1": 454, "conv2_1": 227, "conv3_1": 114, "conv4_1": 57, "conv5_1": 29, "fc6": 9,
    }  # fmt: skip
    assert {name: found[name] for name in ("upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8")} == {
        "upscore2": 20, "score_pool4": 29, "upscore_pool4": 42, "score_pool3": 57, "upscore8": 344,
    }  # fmt: skip


def test_fcn_8s_crops_its_skips_at_5_and_9_and_the_score_at_31():
    # Every layer is made to pass on one channel, so that the output tells which pixels were added and cut.
    network = build_model("fcn-8s", NetworkOptions(width=0.125, fc_channels=4)).network
    seen = {}
    network.upscore2.register_forward_hook(lambda *_: torch.zeros(1, 2, 20, 20))
    network.score_pool4.register_forward_hook(lambda *_: torch.arange(29.0).expand(1, 2, 29, 29))
    network.upscore_pool4.register_forward_pre_hook(lambda _layer, inputs: seen.update(fuse4=inputs[0]))
    network.upscore_pool4.register_forward_hook(lambda *_: torch.zeros(1, 2, 42, 42))
    network.score_pool3.register_forward_hook(lambda *_: torch.arange(57.0).expand(1, 2, 57, 57))
    network.upscore8.register_forward_pre_hook(lambda _layer, inputs: seen.update(fuse3=inputs[0]))
    network.upscore8.register_forward_hook(lambda *_: torch.arange(344.0).expand(1, 2, 344, 344))
    score = network.eval()(torch.zeros(1, 1, 256, 256))
    assert seen["fuse4"][0, 0, 0].tolist() == list(range(5, 25))
    assert seen["fuse3"][0, 0, 0].tolist() == list(range(9, 51))
    assert score[0, 0, 0].tolist() == list(range(31, 287))


def test_fcn_alexnet_crops_its_score_at_18():
    network = build_model("fcn-alexnet", NetworkOptions(width=0.125, fc_channels=4)).network
    network.upscore.register_forward_hook(lambda *_: torch.arange(319.0).expand(1, 2, 319, 319))
    assert network.eval()(torch.zeros(1, 1, 256, 256))[0, 0, 0].tolist() == list(range(18, 274))
