import pytest
import torch

from lvseg.models.layers import (
    Convolution,
    LocalResponseNorm,
    bilinear_upsampling,
    crop,
    max_pool,
    score_layer,
)


def test_bilinear_upsampling_continues_a_ramp():
    ramp = torch.arange(6.0).expand(1, 1, 6, 6)
    upsampled = bilinear_upsampling(1, kernel=4, stride=2)(ramp)
    # Its first pixel is half a cell before the first cell: pixel p of the fine grid lies at (p - 0.5) / 2 - 0.5.
    expected = (torch.arange(3.0, 11.0) - 0.5) / 2 - 0.5
    torch.testing.assert_close(upsampled[0, 0, 6, 3:11], expected)


@pytest.mark.parametrize("groups", [1, 2])
def test_upsampling_by_32_peaks_in_the_middle_of_its_kernel(groups):
    cells = torch.zeros(1, 2, 5, 5)
    cells[0, 1, 2, 3] = 1
    fine = bilinear_upsampling(2, kernel=63, stride=32, groups=groups)(cells)[0, 1]
    row, column = divmod(int(fine.argmax()), fine.shape[1])
    assert (row, column) == (2 * 32 + 31, 3 * 32 + 31)


@pytest.mark.parametrize("groups", [1, 2])
def test_upsampling_keeps_channels_apart(groups):
    cells = torch.zeros(1, 2, 3, 3)
    cells[0, 0] = 1
    fine = bilinear_upsampling(2, kernel=4, stride=2, groups=groups)(cells)
    assert fine[0, 0].max() == 1
    assert torch.count_nonzero(fine[0, 1]) == 0


def test_local_response_norm_divides_alpha_by_the_window():
    image = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    normalised = LocalResponseNorm(size=3, alpha=0.6, beta=0.5, k=1.0)(image)
    # Middle channel: 2 / sqrt(1 + 0.6 / 3 * (1 + 4 + 9)).
    assert normalised[0, 1].item() == pytest.approx(2 / 3.8**0.5)


def test_pooling_an_odd_size_keeps_the_last_row_and_column():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 4, 4] = 7
    pooled = max_pool(image)
    assert pooled.shape == (1, 1, 3, 3)
    assert pooled[0, 0, 2, 2] == 7


def test_cropping_starts_at_the_offset():
    image = torch.arange(20.0).view(1, 1, 4, 5)
    assert crop(image, torch.empty(1, 1, 2, 3), 1).tolist() == [[[[6, 7, 8], [11, 12, 13]]]]


def test_a_convolution_ends_in_a_rectifier():
    assert Convolution(1, 4, 3, norm="batch")(torch.randn(2, 1, 8, 8)).min() == 0


def test_weights_start_with_the_variance_of_he():
    weight = Convolution(64, 128, 3, norm="none").weight
    assert weight.std().item() == pytest.approx((2 / (128 * 9)) ** 0.5, rel=0.02)


def test_a_score_layer_starts_at_zero():
    assert torch.count_nonzero(score_layer(8, 2)(torch.rand(1, 8, 4, 4))) == 0
