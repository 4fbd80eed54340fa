import torch

from lvseg.models.normalise import Normalise


def test_pixels_within_the_clamp_become_their_z_scores():
    # Mean 2, deviation 1: the first z-score is -1 and 1, which no clamp or second z-score changes.
    pixels = torch.tensor([[1.0, 3.0], [3.0, 1.0]]).view(1, 1, 2, 2)
    torch.testing.assert_close(Normalise()(pixels), torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).view(1, 1, 2, 2))


def test_a_spike_is_clamped_before_the_second_z_score():
    pixels = torch.zeros(1, 1, 10, 10)
    pixels[0, 0, 0, 0] = 1000.0
    # First z-score of the spike: 99 / sqrt(99) = 9.95, clamped to 3; of the rest: -0.1005. Two values
    # at shares 1 and 99 of 100 have the z-scores sqrt(99) and -1 / sqrt(99) whatever they are.
    normalised = Normalise()(pixels)
    torch.testing.assert_close(normalised[0, 0, 0, 0], torch.tensor(99.0).sqrt())
    torch.testing.assert_close(normalised[0, 0, 5, 5], -1 / torch.tensor(99.0).sqrt())


def test_the_clamp_makes_the_contrast_independent_of_a_spike():
    torch.manual_seed(0)
    pixels = torch.rand(1, 1, 64, 64)
    spiked = pixels.clone()
    spiked[0, 0, 0, 0] = 20.0
    change = (Normalise()(spiked) - Normalise()(pixels))[0, 0, 1:, 1:].abs().max()
    plain = pixels - pixels.mean()
    z_score = (spiked - spiked.mean()) / spiked.std() - plain / pixels.std()
    assert change < 0.5 * z_score[0, 0, 1:, 1:].abs().max()


def test_each_slice_is_normalised_alone():
    pixels = torch.stack([torch.rand(1, 32, 32), torch.rand(1, 32, 32) * 4095])
    normalised = Normalise()(pixels)
    torch.testing.assert_close(normalised.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(dim=(1, 2, 3), correction=0), torch.ones(2), atol=1e-4, rtol=0)


def test_a_constant_slice_becomes_zeros():
    assert torch.count_nonzero(Normalise()(torch.full((1, 1, 16, 16), 4095.0))) == 0


def test_the_largest_stored_values_stay_finite():
    pixels = torch.zeros(1, 1, 512, 512)
    pixels[..., ::2] = 65535.0
    assert torch.isfinite(Normalise()(pixels)).all()


def test_half_precision_pixels_are_normalised_in_float32():
    pixels = torch.rand(1, 1, 64, 64).half() * 60000
    normalised = Normalise()(pixels)
    assert normalised.dtype == torch.float32
    assert torch.isfinite(normalised).all()
