"""What holds for every network."""

import pytest
import torch

from lvseg.errors import OptionError
from lvseg.models import ARCHITECTURES, build_model

SMALL = {"fcn-8s": {"width": 0.125, "fc_channels": 16}, "fcn-alexnet": {"fc_channels": 16}}


@pytest.fixture(params=ARCHITECTURES)
def model(request):
    """A small model whose scores are not the zeros that a new one starts with."""
    torch.manual_seed(0)
    model = build_model(request.param, SMALL[request.param]).eval()
    for name, weight in model.named_parameters():
        if "score" in name:
            torch.nn.init.normal_(weight)
    return model


@pytest.mark.parametrize("size", [(256, 256), (192, 256), (241, 199), (32, 33)])
def test_the_scores_have_the_size_of_the_slice(model, size):
    assert model(torch.rand(1, 1, *size)).shape == (1, 2, *size)


def test_a_slice_in_a_batch_scores_as_it_does_alone(model):
    slices = torch.rand(3, 1, 96, 80) * torch.tensor([1.0, 200.0, 4000.0]).view(3, 1, 1, 1)
    together = model(slices)
    alone = torch.cat([model(one[None]) for one in slices])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_gain_and_offset_of_the_scanner_do_not_matter(model):
    pixels = torch.rand(1, 1, 96, 80)
    torch.testing.assert_close(model(pixels * 750 + 120), model(pixels), rtol=1e-3, atol=1e-3)


def test_a_shift_by_one_coarse_cell_shifts_the_scores(model):
    scene = torch.zeros(1, 1, 704, 704)
    scene[..., 320:384, 320:384] = torch.rand(64, 64)
    moved = scene.roll(32, dims=-1)
    middle = slice(256, 448)
    scores = model.network(scene)[..., middle, middle]
    scores_moved = model.network(moved).roll(-32, dims=-1)[..., middle, middle]
    torch.testing.assert_close(scores_moved, scores, rtol=1e-4, atol=1e-4)


def test_a_new_network_is_undecided_everywhere(model):
    fresh = build_model("fcn-8s", SMALL["fcn-8s"]).eval()
    assert torch.count_nonzero(fresh(torch.rand(1, 1, 64, 64))) == 0


@pytest.mark.parametrize(("architecture", "millions"), [("fcn-8s", 6.96), ("fcn-alexnet", 4.75)])
def test_the_default_networks_have_the_size_that_the_docs_state(architecture, millions):
    parameters = sum(weight.numel() for weight in build_model(architecture).parameters())
    assert parameters / 1e6 == pytest.approx(millions, abs=0.005)


def test_an_unknown_architecture_names_the_known_ones():
    with pytest.raises(OptionError, match="no model 'u-net'; known: fcn-8s, fcn-alexnet"):
        build_model("u-net")


def test_an_unknown_option_names_the_known_ones():
    with pytest.raises(OptionError, match="fcn-alexnet has no option 'width'; known: fc_channels"):
        build_model("fcn-alexnet", {"width": 1.0})


@pytest.mark.parametrize("options", [{"width": 0.0}, {"width": 1.5}, {"fc_channels": 0}, {"dropout": 1.0}])
def test_an_impossible_option_is_refused_by_name(options):
    with pytest.raises(OptionError, match=next(iter(options))):
        build_model("fcn-8s", options)
