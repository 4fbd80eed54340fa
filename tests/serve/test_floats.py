import struct

import numpy as np
import pytest

from lvseg_serve.floats import decode_floats, encode_floats


def test_numbers_travel_row_by_row_as_little_endian_float32() -> None:
    values = np.array([[0.0, 0.25], [0.5, 1.0]], dtype=np.float32)
    content = encode_floats(values.T)
    assert content == struct.pack("<4f", 0.0, 0.5, 0.25, 1.0)
    np.testing.assert_array_equal(decode_floats(content, (2, 2)), values.T)


def test_another_number_of_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 16 bytes for 2 x 2 pixels"):
        decode_floats(bytes(15), (2, 2))
