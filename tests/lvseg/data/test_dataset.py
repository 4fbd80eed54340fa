import dataclasses

import numpy as np
import pytest
import torch

from lvseg.contour import contour_to_mask
from lvseg.data.augmentation import NO_AUGMENTATION, Augmentation
from lvseg.data.dataset import EpochSampler, TrainingWindows, contour_on_grid
from lvseg.data.sunnybrook import LabelledImage, LabelledSlice
from lvseg.dicom import Slice
from lvseg.models import NetworkOptions

STILL = dataclasses.replace(NO_AUGMENTATION, window=65, centred_share=1.0, shift=0.0)
CENTRE = (50.0, 70.0)


def labelled_disc(radius: float = 12.0) -> LabelledImage:
    """A bright disc at CENTRE (row, column) of a slice of 120 x 140 pixels, with its outline as contour."""
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    contour = np.column_stack((CENTRE[1] + radius * np.cos(angle), CENTRE[0] + radius * np.sin(angle)))
    mask = contour_to_mask(contour, (120, 140))
    slice_ = Slice(
        pixels=np.where(mask, 900, 100).astype(np.float32),
        pixel_spacing=(1.4, 1.4),
        position_mm=None,
        orientation=None,
        slice_spacing_mm=None,
        trigger_time_ms=None,
        instance_number=None,
        frame=1,
        sop_instance_uid="",
        series_instance_uid="",
        study_instance_uid="",
        frame_of_reference_uid="",
    )
    sample = LabelledSlice("SC-HF-I-1", None, None)
    return LabelledImage(sample, slice_, contour, mask)


def windows(augmentation: Augmentation = STILL, *, seed: int = 0, spacing_mm: float = 1.4) -> TrainingWindows:
    return TrainingWindows(
        [labelled_disc()],
        working_spacing_mm=spacing_mm,
        network=NetworkOptions(),
        augmentation=augmentation,
        seed=seed,
    )


def test_a_window_is_a_function_of_seed_epoch_and_sample():
    first, again = (windows(Augmentation())[3, 0] for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])


@pytest.mark.parametrize(("seed", "epoch"), [(1, 3), (0, 4)])
def test_another_seed_or_epoch_gives_another_window(seed, epoch):
    assert not torch.equal(windows(Augmentation(), seed=seed)[epoch, 0][0], windows(Augmentation())[3, 0][0])


def test_without_augmentation_the_window_is_the_slice_around_the_ventricle():
    pixels, label = windows()[0, 0]
    rows, columns = np.argwhere(label[0].numpy()).mean(axis=0)
    assert pixels.shape == label.shape == (1, 65, 65)
    assert (rows, columns) == pytest.approx((32, 32), abs=0.01)
    assert label.sum() == pytest.approx(labelled_disc().mask.sum(), rel=0.001)


@pytest.mark.parametrize(
    "change",
    [
        {"rotation_deg": 90.0},
        {"scale": 1.5},
        {"stretch": 1.3},
        {"elastic_mm": 3.0},
        {"cavity_share": 1.0},
        {"shift": 0.3},
        {"gamma": 2.0},
        {"curve": 0.5},
        {"centred_share": 0.5},
    ],
)
def test_pixels_and_label_move_together(change):
    still, _ = windows()[0, 0]
    between = (still.min() + still.max()) / 2  # the slice has two grey levels
    data = windows(dataclasses.replace(STILL, **change))
    for epoch in range(8):
        pixels, label = data[epoch, 0]
        bright = pixels[0] > between
        assert torch.count_nonzero(bright != (label[0] > 0)) <= 0.02 * max(label.sum(), 100)


def test_a_turned_and_scaled_window_stays_around_the_ventricle():
    data = windows(dataclasses.replace(STILL, rotation_deg=180.0, scale=1.5))
    for epoch in range(8):
        _, label = data[epoch, 0]
        assert np.argwhere(label[0].numpy()).mean(axis=0) == pytest.approx((32, 32), abs=0.1)


def test_a_turned_window_turns_its_label_too():
    image = labelled_disc()
    corner = np.array(
        [[60.0, 40.0], [92.0, 40.0], [92.0, 48.0], [68.0, 48.0], [68.0, 72.0], [60.0, 72.0]]
    )  # an L
    mask = contour_to_mask(corner, image.mask.shape)
    pixels = np.where(mask, 900, 100).astype(np.float32)
    letter = dataclasses.replace(
        image, contour=corner, mask=mask, slice=dataclasses.replace(image.slice, pixels=pixels)
    )
    turning = dataclasses.replace(STILL, rotation_deg=180.0)
    data = TrainingWindows(
        [letter], working_spacing_mm=1.4, network=NetworkOptions(), augmentation=turning, seed=0
    )
    for epoch in range(8):
        window, label = data[epoch, 0]
        bright = window[0] > (window.max() + window.min()) / 2
        assert torch.count_nonzero(bright != (label[0] > 0)) <= 0.02 * label.sum()


def test_scale_enlarges_by_at_most_its_limit():
    data = windows(dataclasses.replace(STILL, scale=1.5))
    areas = np.array([float(data[epoch, 0][1].sum()) for epoch in range(40)]) / labelled_disc().mask.sum()
    assert areas.min() >= 1 / 1.5**2 - 0.05
    assert areas.max() <= 1.5**2 + 0.05
    assert areas.max() / areas.min() > 2


def test_windows_that_are_not_centred_reach_all_of_the_slice():
    data = windows(dataclasses.replace(STILL, centred_share=0.0))
    with_ventricle = sum(bool(data[epoch, 0][1].any()) for epoch in range(60))
    assert 5 < with_ventricle < 55


def test_whole_slices_are_not_touched():
    pixels, label = windows(NO_AUGMENTATION)[0, 0]
    disc = labelled_disc()
    whole = np.zeros((140, 140), dtype=bool)
    whole[10:130] = disc.mask  # 120 rows in the middle of 140
    assert np.array_equal(label[0].numpy() > 0, whole)
    assert pixels[0, :10].abs().max() < 1e-5


def test_noise_is_in_units_of_the_slices_deviation():
    still, noisy = (windows(dataclasses.replace(STILL, noise=noise))[0, 0][0] for noise in (0.0, 1e-9))
    assert torch.allclose(still, noisy)
    deviations = [
        (windows(dataclasses.replace(STILL, noise=0.5))[epoch, 0][0] - still).std() for epoch in range(20)
    ]
    assert 0.3 < max(deviations) <= 0.51


def test_a_slice_is_normalised_whole_and_then_cut():
    pixels, label = windows()[0, 0]
    disc = labelled_disc()
    z_score = (disc.slice.pixels - disc.slice.pixels.mean()) / disc.slice.pixels.std()
    clamped = z_score.clip(-2, 3)
    expected = (clamped - clamped.mean()) / clamped.std()
    assert pixels[0][label[0] > 0].median().item() == pytest.approx(float(expected.max()), abs=1e-4)


def test_windows_are_cut_on_the_working_grid():
    # At twice the spacing the disc covers a quarter of the pixels.
    _, label = windows(spacing_mm=2.8)[0, 0]
    assert label.sum() == pytest.approx(labelled_disc().mask.sum() / 4, rel=0.06)


def test_a_contour_keeps_its_place_on_a_finer_grid():
    # Pixel centres are integers: the outer corner (-0.5, -0.5) stays the corner, (9.5, 4.5) becomes (19.5, 9.5).
    moved = contour_on_grid(np.array([[-0.5, -0.5], [9.5, 4.5], [0.0, 0.0]]), (5, 10), (10, 20))
    np.testing.assert_allclose(moved, [[-0.5, -0.5], [19.5, 9.5], [0.5, 0.5]])


def test_the_sampler_draws_every_sample_once_an_epoch():
    sampler = EpochSampler(10, seed=3)
    sampler.set_epoch(4)
    drawn = list(sampler)
    assert {epoch for epoch, _ in drawn} == {4}
    assert sorted(sample for _, sample in drawn) == list(range(10))


def test_the_order_depends_on_the_epoch_alone():
    orders = []
    for epoch in (0, 1, 0):
        sampler = EpochSampler(50, seed=3)
        sampler.set_epoch(epoch)
        orders.append([sample for _, sample in sampler])
    assert orders[0] == orders[2]
    assert orders[0] != orders[1]
