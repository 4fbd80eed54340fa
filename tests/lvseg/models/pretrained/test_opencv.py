"""OpenCV reads the .caffemodel that lvseg writes, with prototxts as published, and scores as lvseg does."""

import dataclasses
import logging
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lvseg.models import NetworkOptions, build_model
from lvseg.models.pretrained import load_pretrained, save_as_caffemodel

OPTIONS = NetworkOptions(
    width=0.125, fc_channels=16, input_channels=3, normalisation="bgr-means", padding="lab"
)
SIZES = [(64, 64), (97, 75)]


def layer(name: str, kind: str, bottoms: str, parameters: str = "", *, top: str = "") -> str:
    lines = "".join(f'  bottom: "{bottom}"\n' for bottom in bottoms.split())
    return f'layer {{\n  name: "{name}"\n  type: "{kind}"\n{lines}  top: "{top or name}"\n{parameters}}}\n'


def convolution(name: str, bottom: str, outputs: int, kernel: int, more: str = "") -> str:
    parameters = f"  convolution_param {{ num_output: {outputs} kernel_size: {kernel} {more} }}\n"
    return layer(name, "Convolution", bottom, parameters)


def convolution_relu(name: str, bottom: str, outputs: int, kernel: int, more: str = "") -> str:
    return convolution(name, bottom, outputs, kernel, more) + layer(f"relu_{name}", "ReLU", name, top=name)


def pool(name: str, bottom: str, kernel: int) -> str:
    return layer(
        name, "Pooling", bottom, f"  pooling_param {{ pool: MAX kernel_size: {kernel} stride: 2 }}\n"
    )


def lrn(name: str, bottom: str) -> str:
    return layer(name, "LRN", bottom, "  lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }\n")


def upsampling(name: str, bottom: str, kernel: int, stride: int, more: str = "") -> str:
    values = f"num_output: 2 bias_term: false kernel_size: {kernel} stride: {stride} {more}"
    return layer(name, "Deconvolution", bottom, f"  convolution_param {{ {values} }}\n")


def crop(name: str, bottom: str, like: str, offset: int) -> str:
    return layer(name, "Crop", f"{bottom} {like}", f"  crop_param {{ axis: 2 offset: {offset} }}\n")


def data(rows: int, columns: int) -> str:
    return f'input: "data"\ninput_shape {{ dim: 1 dim: 3 dim: {rows} dim: {columns} }}\n'


def fcn_alexnet(size: tuple[int, int], channels: list[int], fc: int) -> str:
    c1, c2, c3, c4, c5 = channels
    return (
        data(*size)
        + convolution_relu("conv1", "data", c1, 11, "pad: 100 stride: 4")
        + pool("pool1", "conv1", 3)
        + lrn("norm1", "pool1")
        + convolution_relu("conv2", "norm1", c2, 5, "pad: 2 group: 2")
        + pool("pool2", "conv2", 3)
        + lrn("norm2", "pool2")
        + convolution_relu("conv3", "norm2", c3, 3, "pad: 1")
        + convolution_relu("conv4", "conv3", c4, 3, "pad: 1 group: 2")
        + convolution_relu("conv5", "conv4", c5, 3, "pad: 1 group: 2")
        + pool("pool5", "conv5", 3)
        + convolution_relu("fc6", "pool5", fc, 6)
        + convolution_relu("fc7", "fc6", fc, 1)
        + convolution("score_fr", "fc7", 2, 1)
        + upsampling("upscore", "score_fr", 63, 32, "group: 2")
        + crop("score", "upscore", "data", 18)
    )


def fcn_8s(size: tuple[int, int], channels: list[int], fc: int) -> str:
    text, bottom = data(*size), "data"
    for stage, (width, depth) in enumerate(zip(channels, (2, 2, 3, 3, 3), strict=True), start=1):
        for index in range(1, depth + 1):
            pad = 100 if (stage, index) == (1, 1) else 1
            text += convolution_relu(f"conv{stage}_{index}", bottom, width, 3, f"pad: {pad}")
            bottom = f"conv{stage}_{index}"
        text += pool(f"pool{stage}", bottom, 2)
        bottom = f"pool{stage}"
    return (
        text
        + convolution_relu("fc6", "pool5", fc, 7)
        + convolution_relu("fc7", "fc6", fc, 1)
        + convolution("score_fr", "fc7", 2, 1)
        + upsampling("upscore2", "score_fr", 4, 2)
        + convolution("score_pool4", "pool4", 2, 1)
        + crop("score_pool4c", "score_pool4", "upscore2", 5)
        + layer("fuse_pool4", "Eltwise", "upscore2 score_pool4c", "  eltwise_param { operation: SUM }\n")
        + upsampling("upscore_pool4", "fuse_pool4", 4, 2)
        + convolution("score_pool3", "pool3", 2, 1)
        + crop("score_pool3c", "score_pool3", "upscore_pool4", 9)
        + layer("fuse_pool3", "Eltwise", "upscore_pool4 score_pool3c", "  eltwise_param { operation: SUM }\n")
        + upsampling("upscore8", "fuse_pool3", 16, 8)
        + crop("score", "upscore8", "data", 31)
    )


PROTOTXTS = {
    "fcn-alexnet": (fcn_alexnet, (96, 256, 384, 384, 256)),
    "fcn-8s": (fcn_8s, (64, 128, 256, 512, 512)),
}


def random_model(architecture: str, options: NetworkOptions):
    """Return a model with random weights everywhere, upsampling included, whose scores have one digit."""
    torch.manual_seed(0)
    model = build_model(architecture, options).eval()
    for name, weight in model.network.named_parameters():
        if name.startswith("score") and name.endswith("weight"):
            torch.nn.init.normal_(weight, std=0.01)
        elif name.startswith("upscore"):
            weight.data += 0.02 * torch.randn_like(weight)
        elif name.endswith("bias"):
            torch.nn.init.normal_(weight, std=0.1)
    return model


def as_bytes(content: bytes) -> np.ndarray:
    return np.frombuffer(content, np.uint8)


def largest_difference(
    architecture: str, options: NetworkOptions, size: tuple[int, int], file: Path
) -> float:
    """Return the largest difference between OpenCV's scores and lvseg's for one slice's planes."""
    model = random_model(architecture, options)
    save_as_caffemodel(model, file)
    prototxt, published = PROTOTXTS[architecture]
    text = prototxt(size, [options.channels(full) for full in published], options.fc_channels)
    net = cv2.dnn.readNetFromCaffe(as_bytes(text.encode()), as_bytes(file.read_bytes()))
    planes = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(1)) * 255 - 110
    net.setInput(planes.numpy())
    found = net.forward("score")
    with torch.inference_mode():
        expected = model.network(planes).numpy()
    assert found.shape == expected.shape
    assert expected.std(axis=(2, 3)).min() > 0.01  # not a field of one value, which any crop would give
    return float(np.abs(found - expected).max())


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("architecture", PROTOTXTS)
def test_opencv_scores_a_written_caffemodel_as_lvseg_does(architecture, size, tmp_path):
    assert largest_difference(architecture, OPTIONS, size, tmp_path / "net.caffemodel") < 1e-4


@pytest.mark.skipif("LVSEG_FULL_WIDTH" not in os.environ, reason="takes 5 GB: set LVSEG_FULL_WIDTH=1")
@pytest.mark.parametrize("size", [*SIZES, (256, 256)])
@pytest.mark.parametrize("architecture", PROTOTXTS)
def test_opencv_agrees_on_the_networks_of_full_width(architecture, size, tmp_path):
    published = dataclasses.replace(OPTIONS, width=1.0, fc_channels=4096)
    difference = largest_difference(architecture, published, size, tmp_path / "net.caffemodel")
    logging.getLogger(__name__).info("%s %s: largest difference %.2g", architecture, size, difference)
    assert difference < 1e-4


@pytest.mark.parametrize("architecture", PROTOTXTS)
def test_lvseg_reads_what_it_has_written(architecture, tmp_path):
    learned = dataclasses.replace(OPTIONS, upsampling="learned")
    model = random_model(architecture, learned)
    save_as_caffemodel(model, tmp_path / "net.caffemodel")
    again = build_model(architecture, learned)
    load_pretrained(again, tmp_path / "net.caffemodel")
    for name, weight in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], weight), name
