"""The few elements of a data set that a slice needs, as bytes, and the reading of their values."""

from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

import numpy as np
from pydicom.tag import Tag

_BINARY_NUMBERS = {"US": "u2", "SS": "i2", "UL": "u4", "SL": "i4", "FL": "f4", "FD": "f8"}
_MOST_NUMBERS = 8
"""No attribute read here has more than six; a value of many is not taken apart."""
_LARGEST_WHOLE_NUMBER = 2**32
"""DICOM's own are smaller (UL, IS); a text may say 1e300."""


class Value(NamedTuple):
    """The bytes of a value that is not empty, and how to read them."""

    data: bytes
    vr: str
    """Of the file, or of the dictionary where the file does not say."""
    little_endian: bool


@cache
def tag_of(keyword: str) -> int:
    """Return the tag that the dictionary has for ``keyword``."""
    return int(Tag(keyword))


@dataclass(frozen=True)
class DataSet:
    """Elements by their tag."""

    values: dict[int, Value] = field(default_factory=dict)
    items: dict[int, "DataSet"] = field(default_factory=dict)
    """Of each sequence the one item that matters."""

    def value(self, keyword: str) -> Value | None:
        """Return a value as it is in the file; ``None`` where it is absent or empty."""
        return self.values.get(tag_of(keyword))

    def item(self, keyword: str) -> "DataSet":
        """Return the item of a sequence; without any elements where there is none."""
        return self.items.get(tag_of(keyword), _EMPTY)

    def text(self, keyword: str) -> str:
        """Return a value that is ASCII by definition, such as a UID; "" where it is absent."""
        value = self.value(keyword)
        return value.data.decode("ascii", "replace").strip(" \0") if value else ""

    def numbers(self, keyword: str) -> tuple[float, ...]:
        """Return the numbers of a value, NaN in the place of what is none; () where it is absent or empty."""
        value = self.value(keyword)
        if value is None:
            return ()
        kind = _BINARY_NUMBERS.get(value.vr[:2])  # [:2]: the dictionary has "US or SS"
        if kind is None:
            parts = value.data.strip(b" \0").split(b"\\", _MOST_NUMBERS)
            return tuple(_number(part) for part in parts) if parts != [b""] else ()
        dtype = np.dtype(kind).newbyteorder("<" if value.little_endian else ">")
        count = min(len(value.data) // dtype.itemsize, _MOST_NUMBERS)
        return tuple(np.frombuffer(value.data, dtype, count).astype(float).tolist())

    def whole_number(self, keyword: str) -> int | None:
        """Return a value that is one whole number; ``None`` where it is absent or something else."""
        found = self.numbers(keyword)
        if len(found) != 1 or not found[0].is_integer() or abs(found[0]) >= _LARGEST_WHOLE_NUMBER:
            return None
        return int(found[0])

    def frame_numbers(self, group: str, keyword: str) -> tuple[float, ...]:
        """Return the numbers of ``keyword`` for the frame that was asked for.

        An enhanced object keeps them in an item of the sequence ``group``, in the functional groups of
        the frame or those shared by all (PS3.3, C.7.6.16); any other object has them in the data set itself.
        """
        own, shared = map(self.item, ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"))
        places = (own.item(group), shared.item(group), self)
        return next((found for place in places if (found := place.numbers(keyword))), ())


_EMPTY = DataSet()


def _number(part: bytes) -> float:
    try:
        return float("nan") if b"_" in part else float(part)  # Python would take 1_5 for 15
    except ValueError:
        return float("nan")
