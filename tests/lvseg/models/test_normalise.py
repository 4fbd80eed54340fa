import pytest
import torch

from lvseg.models import NetworkOptions
from lvseg.models.normalise import Normalise


def test_pixels_within_the_clamp_become_their_z_scores():
    # Mean 2, deviation 1: the first z-score is -1 and 1, which no clamp or second z-score changes.
    pixels = torch.tensor([[1.0, 3.0], [3.0, 1.0]]).view(1, 1, 2, 2)
    torch.testing.assert_close(
        Normalise(NetworkOptions())(pixels), torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).view(1, 1, 2, 2)
    )


def test_a_spike_is_clamped_before_the_second_z_score():
    pixels = torch.zeros(1, 1, 10, 10)
    pixels[0, 0, 0, 0] = 1000.0
    # First z-score of the spike: 99 / sqrt(99) = 9.95, clamped to 3; of the rest: -0.1005. Two values
    # at shares 1 and 99 of 100 have the z-scores sqrt(99) and -1 / sqrt(99) whatever they are.
    normalised = Normalise(NetworkOptions())(pixels)
    torch.testing.assert_close(normalised[0, 0, 0, 0], torch.tensor(99.0).sqrt())
    torch.testing.assert_close(normalised[0, 0, 5, 5], -1 / torch.tensor(99.0).sqrt())


def test_the_clamp_makes_the_contrast_independent_of_a_spike():
    torch.manual_seed(0)
    pixels = torch.rand(1, 1, 64, 64)
    spiked = pixels.clone()
    spiked[0, 0, 0, 0] = 20.0
    change = (
        (Normalise(NetworkOptions())(spiked) - Normalise(NetworkOptions())(pixels))[0, 0, 1:, 1:].abs().max()
    )
    plain = pixels - pixels.mean()
    z_score = (spiked - spiked.mean()) / spiked.std() - plain / pixels.std()
    assert change < 0.5 * z_score[0, 0, 1:, 1:].abs().max()


def test_each_slice_is_normalised_alone():
    pixels = torch.stack([torch.rand(1, 32, 32), torch.rand(1, 32, 32) * 4095])
    normalised = Normalise(NetworkOptions())(pixels)
    torch.testing.assert_close(normalised.mean(dim=(1, 2, 3)), torch.zeros(2), atol=1e-5, rtol=0)
    torch.testing.assert_close(normalised.std(dim=(1, 2, 3), correction=0), torch.ones(2), atol=1e-4, rtol=0)


def test_a_constant_slice_becomes_zeros():
    assert torch.count_nonzero(Normalise(NetworkOptions())(torch.full((1, 1, 16, 16), 4095.0))) == 0


def test_the_largest_stored_values_stay_finite():
    pixels = torch.zeros(1, 1, 512, 512)
    pixels[..., ::2] = 65535.0
    assert torch.isfinite(Normalise(NetworkOptions())(pixels)).all()


def test_half_precision_pixels_are_normalised_in_float32():
    pixels = torch.rand(1, 1, 64, 64).half() * 60000
    normalised = Normalise(NetworkOptions())(pixels)
    assert normalised.dtype == torch.float32
    assert torch.isfinite(normalised).all()


def ramp() -> torch.Tensor:
    # Mean 2, deviation 1: z-scores -1 and 1, on the grey scale (1 / 5 and 3 / 5) of the clamp's range.
    return torch.tensor([[1.0, 3.0], [3.0, 1.0]]).view(1, 1, 2, 2)


@pytest.mark.parametrize(
    ("normalisation", "dark", "bright"),
    [
        ("z-score", (-1.0, -1.0, -1.0), (1.0, 1.0, 1.0)),
        ("raw-116", (-115.0, -115.0, -115.0), (-113.0, -113.0, -113.0)),
        ("grey-116", (51 - 116.0,) * 3, (153 - 116.0,) * 3),
        (
            "bgr-means",
            (51 - 104.007, 51 - 116.669, 51 - 122.679),
            (153 - 104.007, 153 - 116.669, 153 - 122.679),
        ),
        (
            "imagenet",
            ((0.2 - 0.485) / 0.229, (0.2 - 0.456) / 0.224, (0.2 - 0.406) / 0.225),
            ((0.6 - 0.485) / 0.229, (0.6 - 0.456) / 0.224, (0.6 - 0.406) / 0.225),
        ),
    ],
)
def test_three_planes_hold_what_the_weights_were_trained_on(normalisation, dark, bright):
    planes = Normalise(NetworkOptions(input_channels=3, normalisation=normalisation))(ramp())
    assert planes.shape == (1, 3, 2, 2)
    torch.testing.assert_close(planes[0, :, 0, 0], torch.tensor(dark), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(planes[0, :, 0, 1], torch.tensor(bright), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("normalisation", ["z-score", "raw-116", "grey-116"])
def test_one_plane_is_one_of_three_equal_ones(normalisation):
    one = Normalise(NetworkOptions(normalisation=normalisation))(ramp())
    three = Normalise(NetworkOptions(input_channels=3, normalisation=normalisation))(ramp())
    assert one.shape == (1, 1, 2, 2)
    assert torch.equal(three, one.expand(1, 3, 2, 2))


@pytest.mark.parametrize("normalisation", ["grey-116", "bgr-means", "imagenet"])
def test_a_photographs_range_is_reached_at_any_grey_scale_of_the_scanner(normalisation):
    normalise = Normalise(NetworkOptions(input_channels=3, normalisation=normalisation))
    pixels = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(normalise(pixels * 3000 + 70), normalise(pixels), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("normalisation", ["bgr-means", "imagenet"])
def test_planes_that_differ_need_three_channels(normalisation):
    with pytest.raises(ValueError, match="gives three planes that differ: input_channels must be 3, got 1"):
        NetworkOptions(normalisation=normalisation)


def test_a_model_keeps_no_means_among_its_weights():
    # Means are options: a checkpoint holds the network alone.
    assert not Normalise(NetworkOptions(input_channels=3, normalisation="imagenet")).state_dict()
