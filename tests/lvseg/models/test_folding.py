"""A folded model scores as the model that it came from."""

import pytest
import torch

from lvseg.models.folding import fold_batch_norm, fold_planes
from lvseg.models.normalise import EQUAL_PLANES


def randomised(model):
    """Make every weight matter, batch normalisation's statistics included."""
    for name, values in model.network.state_dict().items():
        if name.endswith(("norm.weight", "running_var")):
            values.uniform_(0.5, 1.5)
        elif name.endswith(("bias", "running_mean")):
            values.normal_(std=0.2)
    return model


def pixels() -> torch.Tensor:
    return torch.rand(2, 1, 75, 64, generator=torch.Generator().manual_seed(1)) * 900


@torch.inference_mode()
def assert_same_scores(found, expected):
    found_scores, expected_scores = found(pixels()), expected(pixels())
    largest = float(expected_scores.abs().max())
    assert largest > 0
    torch.testing.assert_close(found_scores, expected_scores, rtol=0, atol=2e-5 * largest)


@pytest.mark.parametrize("padding", ["lab", "same"])
@pytest.mark.parametrize("normalisation", sorted(EQUAL_PLANES))
def test_three_equal_planes_fold_into_one(make, normalisation, padding):
    model = randomised(make(normalisation=normalisation, padding=padding, input_channels=3))
    folded = fold_planes(model)
    assert folded.network.options.input_channels == 1
    assert_same_scores(folded, model)


@pytest.mark.parametrize("normalisation", ["bgr-means", "imagenet"])
def test_planes_that_differ_are_not_folded(make, normalisation):
    model = make(normalisation=normalisation, input_channels=3)
    assert fold_planes(model) is model


def test_one_plane_stays_as_it_is(make):
    model = make()
    assert fold_planes(model) is model


def test_folding_planes_of_different_means_would_be_wrong_in_the_border_alone():
    """Why bgr-means is not folded: beyond the edge, zero is another grey level in each plane."""
    torch.manual_seed(0)
    grey = torch.rand(1, 1, 16, 16, dtype=torch.float64) * 255
    means = torch.tensor([104.007, 116.669, 122.679], dtype=torch.float64).view(1, 3, 1, 1)
    weight = torch.randn(1, 3, 3, 3, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(grey - means, weight, padding=1)
    # One plane, and what the means contribute where the whole kernel lies inside, as a bias.
    bias = -(weight * means).sum()
    folded = torch.nn.functional.conv2d(grey, weight.sum(dim=1, keepdim=True), padding=1) + bias
    error = (folded - expected).abs()[0, 0]
    assert error[1:-1, 1:-1].max() < 1e-9
    border = torch.cat((error[0], error[-1], error[:, 0], error[:, -1]))
    assert border.min() > 1


def test_batch_normalisation_folds_into_weight_and_bias(make):
    model = randomised(make(norm="batch"))
    folded = fold_batch_norm(model)
    assert folded.network.options.norm == "none"
    assert not any("norm" in name for name in folded.state_dict())
    assert_same_scores(folded, model)


def test_a_model_without_batch_normalisation_stays_as_it_is(make):
    model = make()
    assert fold_batch_norm(model) is model
