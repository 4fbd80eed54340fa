"""Walk a data set up to its pixels and keep the few elements that a slice needs (PS3.5, chapter 7).

Not with pydicom's reader, as the bytes may be a stranger's. It keeps each item of each sequence of
undefined length, wanted or not (2 MB of empty items take it 170 MB and four seconds), recurses as deep as
the file says, and quotes in warnings and logs what breaks a rule, where no patient's data may be. Here
what is not wanted is passed over, and text is not read at all.
"""

import struct
from collections.abc import Callable, Collection
from typing import BinaryIO, NamedTuple

from pydicom.datadict import dictionary_VR
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32, STANDARD_VR

from lvseg._dicom.dataset import DataSet, Value, tag_of
from lvseg.errors import DicomError

UNDEFINED_LENGTH = 0xFFFFFFFF

_ITEM, _ITEM_DELIMITER, _SEQUENCE_DELIMITER = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_DEEPEST = 16
"""Sequences in sequences; objects of real scanners have about five."""
_MOST_ELEMENTS = 200_000
"""Some third of a second's work; an enhanced object of a thousand frames has about half of them."""
_LONGEST_VALUE = 2**17
"""In bytes, of an element that is kept: a lookup table of 65536 entries. Pixel data are not kept."""
_LONG_VRS = frozenset(str(vr) for vr in EXPLICIT_VR_LENGTH_32)
_VRS = {vr.encode(): str(vr) for vr in STANDARD_VR}


class Encoding(NamedTuple):
    """How a data set is written."""

    implicit: bool
    little_endian: bool


class _Layout(NamedTuple):
    """The parts of a head (PS3.5, 7.1)."""

    implicit: struct.Struct
    """Group, element, length."""
    explicit: struct.Struct
    """Group, element, VR, length in two bytes."""
    long: struct.Struct
    """The length that comes after those of some VRs."""


_LITTLE, _BIG = (
    _Layout(*(struct.Struct(order + parts) for parts in ("HHI", "HH2sH", "I"))) for order in "<>"
)


class Head(NamedTuple):
    """What stands before a value: an element's tag, VR ("" where it is implicit) and length."""

    tag: int
    vr: str
    length: int
    """In bytes, or ``UNDEFINED_LENGTH``."""
    start: int
    """Of the head, in the file."""
    position: int
    """Of the value, in the file."""

    @property
    def end(self) -> int:
        """Where the value ends, if its length is defined."""
        return self.position + self.length


def not_dicom(found: str) -> DicomError:
    """Return the error for something that is no DICOM object, or no longer one."""
    return DicomError(
        f"not a readable DICOM file: {found}; expected one whole DICOM object",
        reason="NOT_DICOM",
        expected="one whole DICOM object",
    )


def is_vr(code: bytes) -> bool:
    """Tell whether two bytes look like a VR."""
    return len(code) == 2 and code.isalpha() and code.isupper()


class Parser:
    """Reads data sets from a file.

    Args:
        stream: The file.
        size: Of the file, in bytes.
        wanted: Keywords of the elements to keep, in the data set and in the items of wanted sequences.
        frame: Which item to keep of the *Per-Frame Functional Groups Sequence*, from 1. Of any other
            sequence it is the first.
    """

    def __init__(self, stream: BinaryIO, size: int, wanted: Collection[str], frame: int = 1) -> None:
        self._stream = stream
        self._size = size
        self._wanted = frozenset(map(tag_of, wanted))
        self._elements_left = _MOST_ELEMENTS
        self._kept_item = {tag_of("PerFrameFunctionalGroupsSequence"): frame - 1}

    def read(self, encoding: Encoding, stop_before: Callable[[int], bool]) -> tuple[DataSet, Head | None]:
        """Read elements from where the file stands up to the first whose tag ``stop_before`` names.

        Returns:
            The wanted elements and the head at which reading stopped; ``None`` where the data set ended.

        Raises:
            DicomError: ``NOT_DICOM`` if the data set is malformed, or ends inside an element.
        """
        return self._read(encoding, stop_before, self._size, self._wanted, 0)

    def _read(
        self,
        encoding: Encoding,
        stop_before: Callable[[int], bool],
        end: int,
        wanted: frozenset[int],
        depth: int,
    ) -> tuple[DataSet, Head | None]:
        found = DataSet()
        while (head := self._read_head(encoding, end)) is not None:
            tag, vr, length, _, _ = head
            if stop_before(tag):
                return found, head
            self._check_end(head, end)
            keep = tag in wanted
            if keep and vr in ("", "UN"):
                vr = dictionary_VR(tag)
            if length == UNDEFINED_LENGTH or (keep and vr == "SQ"):
                item = self._read_sequence(head, encoding, end, wanted, depth + 1)
                if item is not None:
                    found.items[tag] = item
            elif keep and length:
                if length > _LONGEST_VALUE:
                    raise not_dicom(f"an element that has a few bytes has {length}")
                found.values[tag] = Value(self._stream.read(length), vr, encoding.little_endian)
            if length != UNDEFINED_LENGTH:
                self._stream.seek(head.end)
        return found, None

    def _read_sequence(
        self, sequence: Head, encoding: Encoding, end: int, wanted: frozenset[int], depth: int
    ) -> DataSet | None:
        """Move past a sequence; return the item to keep, if the sequence is wanted and has that item."""
        if depth > _DEEPEST:
            raise not_dicom("its sequences are nested too deep")
        kept = self._kept_item.get(sequence.tag, 0) if sequence.tag in wanted else -1
        undefined = sequence.length == UNDEFINED_LENGTH
        end = end if undefined else sequence.end
        found, index = None, 0
        while (item := self._read_head(encoding, end)) is not None:
            if item.tag == _SEQUENCE_DELIMITER:
                return found
            if item.tag != _ITEM:
                raise not_dicom("a sequence is malformed")
            self._check_end(item, end)
            keep = index == kept
            if keep or item.length == UNDEFINED_LENGTH:
                data_set = self._read_item(item, encoding, end, wanted if keep else frozenset(), depth)
                found = data_set if keep else found
            if item.length != UNDEFINED_LENGTH:
                self._stream.seek(item.end)
            index += 1
        if undefined:
            raise not_dicom("it ends inside a sequence")
        return found

    def _read_item(
        self, item: Head, encoding: Encoding, end: int, wanted: frozenset[int], depth: int
    ) -> DataSet:
        undefined = item.length == UNDEFINED_LENGTH
        found, last = self._read(
            encoding, _ITEM_DELIMITER.__eq__, end if undefined else item.end, wanted, depth
        )
        if undefined and last is None:
            raise not_dicom("it ends inside a sequence")
        return found

    def _read_head(self, encoding: Encoding, end: int) -> Head | None:
        """Return the next head before ``end``; ``None`` at ``end``."""
        start = self._stream.tell()
        if start >= end:
            return None
        self._elements_left -= 1
        if self._elements_left < 0:
            raise not_dicom(f"it has more than {_MOST_ELEMENTS} elements")
        data = self._stream.read(8)
        if start + 8 > end or len(data) < 8:
            raise not_dicom("it ends inside its header")
        layout = _LITTLE if encoding.little_endian else _BIG
        group, element, code, length = layout.explicit.unpack(data)
        tag = group << 16 | element
        vr = "" if encoding.implicit else _VRS.get(code) or _unknown_vr(code)
        if not vr:
            # Some writers leave out VRs inside sequences; items and delimiters never have one.
            return Head(tag, "", layout.implicit.unpack(data)[2], start, start + 8)
        if vr not in _LONG_VRS:
            return Head(tag, vr, length, start, start + 8)
        data = self._stream.read(4)
        if len(data) < 4:
            raise not_dicom("it ends inside its header")
        return Head(tag, vr, layout.long.unpack(data)[0], start, start + 12)

    def _check_end(self, head: Head, end: int) -> None:
        if head.length != UNDEFINED_LENGTH and head.end > end:
            raise not_dicom("it ends inside its header" if end == self._size else "an item is too short")


def _unknown_vr(code: bytes) -> str:
    """Return two bytes as the VR that a later standard may define; "" where they are none."""
    return code.decode("ascii") if is_vr(code) else ""
