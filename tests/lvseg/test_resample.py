import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.transform import resize

from lvseg.decision import ventricle
from lvseg.resample import from_working, mask_from_working, to_working, working_shape


def test_the_working_grid_covers_the_same_millimetres():
    # 192 rows of 2 mm and 256 columns of 1 mm, on pixels of 1.5 mm: 384 / 1.5 and 256 / 1.5 = 170.67.
    assert working_shape((192, 256), (2.0, 1.0), 1.5) == (256, 171)


def test_a_slice_of_the_working_spacing_is_left_as_it_is():
    pixels = np.random.default_rng(0).random((256, 256), dtype=np.float32)
    assert to_working(pixels, (1.367188, 1.367188), 1.3672) is pixels


def test_a_linear_slope_in_mm_stays_one():
    columns_mm = (np.arange(64) + 0.5) * 1.0
    pixels = np.tile(columns_mm, (64, 1)).astype(np.float32)
    working = to_working(pixels, (1.0, 1.0), 2.0)
    np.testing.assert_allclose(working[16, 4:28], (np.arange(4, 28) + 0.5) * 2.0, rtol=1e-5)


@pytest.mark.parametrize("spacing_mm", [0.7, 1.0, 1.9])
def test_a_disc_comes_back_at_its_place_and_size(spacing_mm):
    rows, columns = np.mgrid[:192, :256]
    disc = (((rows - 90.5) ** 2 + (columns - 131.0) ** 2) < 30**2).astype(np.float32)
    working = to_working(disc, (spacing_mm, spacing_mm), 1.4)
    back = from_working(working, disc.shape) > 0.5
    both = np.count_nonzero(back & (disc > 0))
    assert 2 * both / (np.count_nonzero(back) + np.count_nonzero(disc)) > 0.985
    np.testing.assert_allclose(np.argwhere(back).mean(axis=0), (90.5, 131.0), atol=0.1)


def test_a_probability_stays_between_zero_and_one():
    working = np.random.default_rng(1).integers(0, 2, (100, 120)).astype(np.float32)
    back = from_working(working, (256, 300))
    assert back.dtype == np.float32
    assert back.min() >= 0
    assert back.max() <= 1


def test_a_mask_is_the_ventricle_alone():
    probability = np.zeros((10, 12), dtype=np.float32)
    probability[1:4, 1:4] = 0.9
    probability[6, 6] = 0.9
    expected = np.zeros((10, 12), dtype=np.bool_)
    expected[1:4, 1:4] = True
    np.testing.assert_array_equal(mask_from_working(probability, (10, 12)), expected)


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(0, 2**32),
    st.floats(0.01, 0.99),
)
@settings(deadline=None)
def test_a_mask_is_the_ventricle_of_the_whole_probability(shape, own_shape, seed, share):
    rng = np.random.default_rng(seed)
    # Anything from a pixel to nearly all above a half, at any place.
    probability = np.where(rng.random(shape) < share, 0.0, rng.random(shape)).astype(np.float32)
    probability[rng.random(shape) < 0.2] = 0.5
    expected = ventricle(from_working(probability, own_shape))
    np.testing.assert_array_equal(mask_from_working(probability, own_shape), expected)


def test_a_probability_that_is_nowhere_above_a_half_is_an_empty_mask():
    assert not mask_from_working(np.full((4, 5), 0.5, dtype=np.float32), (8, 10)).any()


@pytest.mark.parametrize("spacing_mm", [0.0, -1.0, float("nan"), float("inf")])
def test_an_impossible_working_spacing_is_refused(spacing_mm):
    with pytest.raises(ValueError, match="working spacing must be finite and above 0 mm"):
        working_shape((10, 10), (1.0, 1.0), spacing_mm)


@pytest.mark.parametrize(
    ("shape", "new_shape"), [((256, 256), (350, 350)), ((350, 351), (256, 97)), ((64, 72), (7, 144))]
)
def test_the_weights_are_those_of_scikit_image(shape, new_shape):
    image = np.random.default_rng(2).random(shape, dtype=np.float32)
    expected = resize(image, new_shape, order=1, mode="edge", anti_aliasing=True, preserve_range=True)
    np.testing.assert_allclose(from_working(image, new_shape), expected, atol=1e-6)
