import io

import numpy as np
import pytest
from PIL import Image

from lvseg_serve.png import decode_mask, encode_mask, png_shape


@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (64, 72)])
def test_a_mask_comes_back_as_it_was(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(1).random(shape) > 0.5
    decoded = decode_mask(encode_mask(mask))
    assert decoded.dtype == np.bool_
    np.testing.assert_array_equal(decoded, mask)


def test_a_mask_takes_one_bit_a_pixel() -> None:
    with Image.open(io.BytesIO(encode_mask(np.ones((3, 5), dtype=bool)))) as image:
        assert (image.format, image.mode, image.size) == ("PNG", "1", (5, 3))


def test_a_mask_that_is_not_contiguous_is_encoded_right() -> None:
    mask = np.arange(12).reshape(3, 4) % 5 == 0
    np.testing.assert_array_equal(decode_mask(encode_mask(mask.T)), mask.T)


def test_bytes_that_are_no_png_are_refused() -> None:
    with pytest.raises(ValueError, match="not a readable PNG"):
        decode_mask(b"hello")


def test_a_picture_of_grey_levels_is_no_mask() -> None:
    stream = io.BytesIO()
    Image.new("L", (4, 4)).save(stream, format="PNG")
    with pytest.raises(ValueError, match="one bit a pixel"):
        decode_mask(stream.getvalue())


def test_the_shape_is_read_without_the_pixels() -> None:
    assert png_shape(encode_mask(np.ones((3, 5), dtype=bool))[:33]) == (3, 5)


@pytest.mark.parametrize("content", [b"", b"hello", bytes(64)])
def test_what_does_not_begin_like_a_png_has_no_shape(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a readable PNG"):
        png_shape(content)


def test_a_png_with_a_second_and_larger_size_is_refused() -> None:
    small, large = (encode_mask(np.ones(shape, dtype=bool)) for shape in ((3, 5), (4000, 4000)))
    with pytest.raises(ValueError, match="two sizes"):
        decode_mask(small[:33] + large[8:])


def test_a_png_with_a_chunk_that_is_none_is_refused() -> None:
    png = encode_mask(np.ones((3, 5), dtype=bool))
    with pytest.raises(ValueError, match="not a readable PNG"):
        decode_mask(png[:33] + bytes(12) + png[33:])
