import numpy as np
import pytest
from pydicom.pixels.utils import unpack_bits

from lvseg_serve.bits import decode_bits, encode_bits


def test_the_first_pixel_is_the_lowest_bit_and_rows_are_not_padded() -> None:
    mask = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 1]], dtype=bool)
    assert encode_bits(mask) == bytes([0b0100_0001, 0b0000_0010])


def test_they_are_packed_as_dicom_packs_them() -> None:
    mask = np.random.default_rng(1).random((16, 9)) > 0.5
    np.testing.assert_array_equal(unpack_bits(encode_bits(mask)), mask.ravel())


@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (64, 72)])
def test_a_mask_comes_back_as_it_was(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(1).random(shape) > 0.5
    decoded = decode_bits(encode_bits(mask), shape)
    assert decoded.dtype == np.bool_
    np.testing.assert_array_equal(decoded, mask)


@pytest.mark.parametrize("length", [0, 1, 3])
def test_another_number_of_bytes_is_refused(length: int) -> None:
    with pytest.raises(ValueError, match="expected 2 bytes for 3 x 5 pixels"):
        decode_bits(bytes(length), (3, 5))
