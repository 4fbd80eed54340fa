"""What holds for every network."""

import dataclasses

import pytest
import torch
from torch.nn.functional import avg_pool2d

from lvseg.errors import OptionError
from lvseg.models import ARCHITECTURES, NetworkOptions, build_model
from lvseg.train.recipes import DEFAULT_RECIPES

SIZES = [(256, 256), (192, 256), (241, 199), (32, 33)]


@pytest.mark.parametrize("padding", ["lab", "same"])
@pytest.mark.parametrize("size", SIZES)
def test_the_scores_have_the_size_of_the_slice(make, padding, size):
    assert make(padding=padding)(torch.rand(1, 1, *size)).shape == (1, 2, *size)


@pytest.mark.parametrize("padding", ["lab", "same"])
def test_a_slice_in_a_batch_scores_as_it_does_alone(make, padding):
    model = make(padding=padding, norm="batch")
    slices = torch.rand(3, 1, 96, 80) * torch.tensor([1.0, 200.0, 4000.0]).view(3, 1, 1, 1)
    together = model(slices)
    alone = torch.cat([model(one[None]) for one in slices])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_gain_and_offset_of_the_scanner_do_not_matter(make):
    pixels = torch.rand(1, 1, 96, 80)
    model = make(padding="same")
    torch.testing.assert_close(model(pixels * 750 + 120), model(pixels), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("padding", ["lab", "same"])
def test_a_shift_by_one_coarse_cell_shifts_the_scores(make, padding):
    network = make(padding=padding).network
    scene = torch.zeros(1, 1, 704, 704)
    scene[..., 320:384, 320:384] = torch.rand(64, 64)
    middle = slice(256, 448)
    scores = network(scene)[..., middle, 256:448]
    scores_moved = network(scene.roll(32, dims=-1))[..., middle, 288:480]
    torch.testing.assert_close(scores_moved, scores, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("padding", ["lab", "same"])
def test_scores_lie_over_the_pixels_that_they_rest_on(make, padding, monkeypatch):
    # With mean pools and equal weights the network is a blur, and its gradient the blur's footprint.
    monkeypatch.setattr("lvseg.models.fcn8s.max_pool", lambda image: avg_pool2d(image, 2, ceil_mode=True))
    network = make(padding=padding).network
    if hasattr(network, "pool"):
        network.pool = torch.nn.AvgPool2d(3, 2, network.pool.padding, network.pool.ceil_mode)
        network.lrn = torch.nn.Identity()
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if weight.requires_grad:
                weight.fill_(0.01 if name.endswith("weight") else 0.0)
    image = torch.ones(1, 1, 576, 576, requires_grad=True)
    block = slice(256, 288)  # as wide as a coarse cell, so that it weighs all phases alike
    network(image)[0, 1, block, block].sum().backward()
    footprint = image.grad[0, 0]
    for axis in (0, 1):
        centre = (footprint.sum(dim=axis) * torch.arange(576)).sum() / footprint.sum()
        assert centre == pytest.approx(271.5, abs=0.6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_new_network_is_undecided_everywhere(architecture):
    fresh = build_model(architecture, NetworkOptions(width=0.125, fc_channels=16)).eval()
    assert torch.count_nonzero(fresh(torch.rand(1, 1, 64, 64))) == 0


def test_three_input_channels_see_the_slice_three_times(make):
    one, three = make(), make(input_channels=3)
    weights = three.network.state_dict()
    first = next(iter(weights))
    weights = {**one.network.state_dict(), first: one.network.state_dict()[first].expand(-1, 3, -1, -1) / 3}
    three.network.load_state_dict(weights)
    pixels = torch.rand(1, 1, 64, 80)
    torch.testing.assert_close(three(pixels), one(pixels), rtol=1e-4, atol=1e-4)


def test_upsampling_is_not_trained_as_published(make):
    frozen = {name for name, weight in make().network.named_parameters() if not weight.requires_grad}
    assert frozen
    assert all(name.startswith("upscore") for name in frozen)


def test_upsampling_is_trained_where_asked_for(make):
    assert all(weight.requires_grad for weight in make(upsampling="learned").network.parameters())


def test_batch_normalisation_takes_the_place_of_the_bias(make):
    assert "conv3_1.bias" not in make(norm="batch").network.state_dict()
    assert any(name.endswith("norm.running_mean") for name in make(norm="batch").network.state_dict())


@pytest.mark.parametrize(("architecture", "millions"), [("fcn-8s", 2.60), ("fcn-alexnet", 1.84)])
def test_the_networks_for_training_from_scratch_are_small(architecture, millions):
    parameters = sum(
        weight.numel()
        for weight in build_model(architecture, DEFAULT_RECIPES[architecture].network).parameters()
    )
    assert parameters / 1e6 == pytest.approx(millions, abs=0.01)


def test_an_unknown_architecture_names_the_known_ones():
    with pytest.raises(OptionError, match="no model 'u-net'; known: fcn-8s, fcn-alexnet"):
        build_model("u-net", NetworkOptions())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0.0}, "width must be above 0 and at most 1, got 0.0"),
        ({"width": 1.5}, "width must be above 0 and at most 1, got 1.5"),
        ({"width": "0.5"}, "width must be a number, got '0.5'"),
        ({"fc_channels": 0}, "fc_channels must be a whole number above 0, got 0"),
        ({"fc_channels": 1.5}, "fc_channels must be a whole number above 0, got 1.5"),
        ({"fc_channels": True}, "fc_channels must be a number, got True"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
        ({"input_channels": 2}, "input_channels must be 1 or 3, got 2"),
        ({"norm": "group"}, "norm must be one of none, batch, got 'group'"),
        ({"upsampling": "nearest"}, "upsampling must be one of fixed, learned, got 'nearest'"),
        ({"padding": "valid"}, "padding must be one of lab, same, got 'valid'"),
    ],
)
def test_an_impossible_option_is_refused_by_name(options, message):
    with pytest.raises(ValueError, match=message):
        NetworkOptions(**options)


def test_channels_of_the_trunk_stay_even_for_layers_of_two_groups():
    options = dataclasses.replace(NetworkOptions(), width=0.1)
    assert [options.channels(published) for published in (64, 96, 256, 384, 2)] == [6, 10, 26, 38, 2]
