import dataclasses
import itertools

import numpy as np
import pytest
import torch
from PIL import Image

from lvseg.models import NetworkOptions, SegmentationModel, build_model
from lvseg.train.report import layers
from lvseg.train.report.layers import BINS, Statistics, activations, parameters, weights
from lvseg.train.report.tiles import tiles

TINY = NetworkOptions(width=0.125, fc_channels=16, padding="same", norm="batch", upsampling="learned")
PUBLISHED = NetworkOptions(width=0.125, fc_channels=16)


def model_of(architecture: str, options: NetworkOptions) -> SegmentationModel:
    torch.manual_seed(4)
    return build_model(architecture, options).eval()


def slice_of(rows: int, columns: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return 300 * torch.rand(1, 1, rows, columns, generator=generator)


def test_statistics_are_those_of_all_values(monkeypatch):
    monkeypatch.setattr(layers, "_AT_ONCE", 100)  # many parts
    tensor = torch.randn(17, 5, 3, generator=torch.Generator().manual_seed(1))
    values = tensor.double().numpy()
    statistics = Statistics.of(tensor)
    assert statistics.shape == (17, 5, 3)
    assert statistics.mean == pytest.approx(values.mean())
    assert statistics.sd == pytest.approx(values.std())
    assert (statistics.low, statistics.high) == (values.min(), values.max())
    np.testing.assert_array_equal(statistics.counts, np.histogram(values, BINS)[0])


@pytest.mark.parametrize("value", [0.0, -3.5])
def test_a_tensor_of_one_value_has_one_bar(value):
    statistics = Statistics.of(torch.full((4, 3), value))
    assert (statistics.mean, statistics.sd) == (value, 0)
    assert sorted(statistics.counts)[-2:] == [0, 12]


FCN8S = ["pixels", "normalised", "conv1_1", "conv1_2", "pool after conv1_2", "conv2_1", "conv2_2",
         "pool after conv2_2", "conv3_1", "conv3_2", "conv3_3", "pool after conv3_3", "conv4_1", "conv4_2", "conv4_3",
         "pool after conv4_3", "conv5_1", "conv5_2", "conv5_3", "pool after conv5_3", "fc6", "fc7", "score_fr",
         "upscore2", "score_pool4", "upscore_pool4", "score_pool3", "upscore8", "score", "probability"]  # fmt: skip
ALEXNET = ["pixels", "normalised", "conv1", "pool after conv1", "lrn after conv1", "conv2", "pool after conv2",
           "lrn after conv2", "conv3", "conv4", "conv5", "pool after conv5", "fc6", "fc7", "score_fr", "upscore",
           "score", "probability"]  # fmt: skip


@pytest.mark.parametrize(
    ("architecture", "options", "names"),
    [("fcn-8s", TINY, FCN8S), ("fcn-8s", PUBLISHED, FCN8S), ("fcn-alexnet", PUBLISHED, ALEXNET)],
)
def test_each_layer_is_seen_once_in_the_order_of_the_computation(architecture, options, names):
    views = activations(model_of(architecture, options), slice_of(96, 80))
    assert [view.layer for view in views] == names


def test_a_view_is_of_what_the_layer_gives():
    model, pixels = model_of("fcn-8s", TINY), slice_of(96, 80)
    views = {view.layer: view for view in activations(model, pixels)}
    with torch.inference_mode():
        planes = model.normalise(pixels)
        conv1_1 = model.network.conv1_1(planes)
        pool1 = torch.nn.functional.max_pool2d(model.network.conv1_2(conv1_1), 2)
        probability = torch.softmax(model(pixels), dim=1)[0, 1]
    for name, tensor in (
        ("pixels", pixels[0]),
        ("normalised", planes[0]),
        ("conv1_1", conv1_1[0]),
        ("pool after conv1_2", pool1[0]),
        ("probability", probability[None]),
    ):
        statistics = views[name].statistics
        assert statistics.shape == tuple(tensor.shape)
        assert statistics.mean == pytest.approx(float(tensor.double().mean()), abs=1e-6)
        assert statistics.sd == pytest.approx(float(tensor.double().std(correction=0)), rel=1e-6)


def test_looking_leaves_no_trace_on_the_model():
    model, pixels = model_of("fcn-alexnet", PUBLISHED), slice_of(80, 80)
    with torch.inference_mode():
        before = model(pixels)
        activations(model, pixels)
        torch.testing.assert_close(model(pixels), before, rtol=0, atol=0)
    assert not any(layer._forward_hooks for layer in model.modules())


@pytest.mark.parametrize("architecture", ["fcn-8s", "fcn-alexnet"])
@pytest.mark.parametrize("options", [TINY, PUBLISHED])
def test_every_weight_is_looked_at(architecture, options):
    model = model_of(architecture, options)
    shapes = []
    for view, others in weights(model):
        shapes.append(view.statistics.shape)
        shapes += [statistics.shape for _, statistics in others]
    floating = [tuple(value.shape) for value in model.state_dict().values() if value.is_floating_point()]
    assert sorted(shapes) == sorted(floating)


def test_the_weights_view_is_of_the_layers_own_weight():
    model = model_of("fcn-8s", TINY)
    view, others = next(found for found in weights(model) if found[0].layer == "conv3_2")
    weight = model.network.conv3_2.weight.detach().double()
    assert view.statistics.mean == pytest.approx(float(weight.mean()))
    assert view.statistics.sd == pytest.approx(float(weight.std(correction=0)))
    assert view.shown == "outputs 1 to 16 of 32, from input 1 of 32"
    assert [name for name, _ in others] == [
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
    ]


def test_fixed_upsampling_is_no_trained_parameter():
    learned = model_of("fcn-alexnet", dataclasses.replace(PUBLISHED, upsampling="learned"))
    assert parameters(learned) - parameters(model_of("fcn-alexnet", PUBLISHED)) == 2 * 63 * 63


def colours(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture.convert("RGBA"))


def test_tiles_stand_in_square_rows_and_keep_their_order():
    values = np.arange(5, dtype=np.float32)[:, None, None] * np.ones((5, 4, 4), dtype=np.float32)
    picture = tiles(values, "gray")
    assert picture.size == (3 * 80 + 2 * 3, 2 * 80 + 3)
    centres = colours(picture)[[40, 40, 40, 123, 123], [40, 123, 206, 40, 123], 0]
    assert all(darker < brighter for darker, brighter in itertools.pairwise(centres.tolist()))


def test_between_tiles_and_where_one_is_missing_the_page_shows():
    opacity = colours(tiles(np.ones((3, 8, 8), dtype=np.float32), "viridis"))[..., 3]
    assert opacity[10, 10] == 255
    assert opacity[10, 121] == opacity[121, 10] == opacity[200, 200] == 0


def test_zero_is_white_among_weights():
    values = np.array([[[-1.0, 0.0, 3.0]]], dtype=np.float32)
    picture = colours(tiles(values, "RdBu_r"))
    middle, left, right = (picture[5, column, :3].astype(int) for column in (picture.shape[1] // 2, 5, -5))
    assert middle.min() > 240
    assert left[2] > left[0]
    assert right[0] > right[2]


@pytest.mark.parametrize("value", [0.0, 7.0])
@pytest.mark.parametrize("palette", ["gray", "RdBu_r"])
def test_a_dead_layer_is_one_colour(value, palette):
    picture = colours(tiles(np.full((1, 9, 9), value, dtype=np.float32), palette))
    assert len(np.unique(picture.reshape(-1, 4), axis=0)) == 1


def test_a_large_map_is_shrunk_and_keeps_its_proportions():
    assert tiles(np.random.default_rng(1).random((1, 400, 800), dtype=np.float32), "gray").size == (256, 128)
