import pytest
import torch

from lvseg.models.layers import LocalResponseNorm, bilinear_upsampling, crop_like, max_pool_ceil, score_layer


def test_bilinear_upsampling_continues_a_ramp():
    ramp = torch.arange(6.0).expand(1, 1, 6, 6)
    upsampled = bilinear_upsampling(1, kernel=4, stride=2, padding=1)(ramp)
    # A cell's centre lies between two pixels: pixel p of the fine grid is at (p + 0.5) / 2 - 0.5.
    expected = (torch.arange(2.0, 10.0) + 0.5) / 2 - 0.5
    torch.testing.assert_close(upsampled[0, 0, 5, 2:10], expected)


def test_upsampling_by_32_puts_a_cell_on_the_pixel_its_network_looks_at():
    cells = torch.zeros(1, 1, 5, 5)
    cells[0, 0, 2, 3] = 1
    fine = bilinear_upsampling(1, kernel=63, stride=32, padding=15)(cells)[0, 0]
    row, column = divmod(int(fine.argmax()), fine.shape[1])
    assert (row, column) == (2 * 32 + 16, 3 * 32 + 16)


def test_upsampling_keeps_channels_apart():
    cells = torch.zeros(1, 2, 3, 3)
    cells[0, 0] = 1
    assert torch.count_nonzero(bilinear_upsampling(2, kernel=4, stride=2, padding=1)(cells)[0, 1]) == 0


def test_local_response_norm_divides_alpha_by_the_window():
    image = torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1)
    normalised = LocalResponseNorm(size=3, alpha=0.6, beta=0.5, k=1.0)(image)
    # Middle channel: 2 / sqrt(1 + 0.6 / 3 * (1 + 4 + 9)).
    assert normalised[0, 1].item() == pytest.approx(2 / 3.8**0.5)


def test_pooling_an_odd_size_keeps_the_last_row_and_column():
    image = torch.zeros(1, 1, 5, 5)
    image[0, 0, 4, 4] = 7
    pooled = max_pool_ceil(image)
    assert pooled.shape == (1, 1, 3, 3)
    assert pooled[0, 0, 2, 2] == 7


def test_cropping_takes_the_top_left():
    image = torch.arange(12.0).view(1, 1, 3, 4)
    assert crop_like(image, torch.empty(1, 1, 2, 3)).tolist() == [[[[0, 1, 2], [4, 5, 6]]]]


def test_a_score_layer_starts_at_zero():
    assert torch.count_nonzero(score_layer(8, 2)(torch.rand(1, 8, 4, 4))) == 0
