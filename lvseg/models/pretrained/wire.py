"""Protocol Buffers' wire format, as much of it as a Caffe model needs, over files that do not fit in memory."""

from collections.abc import Iterator

import numpy as np

VARINT, FIXED64, DELIMITED, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
_RECORDS = 4096
"""Values looked at in one step."""


class WireError(ValueError):
    """Bytes that are no message; the text says where and why."""


class Message:
    """The bytes of one message, read field by field without copying.

    Args:
        data: The bytes that hold it.
        start: Its first byte.
        end: The byte after its last.

    References:
        protobuf.dev, "Encoding".
    """

    def __init__(self, data: memoryview, start: int, end: int) -> None:
        self.data = data
        self.start = start
        self.end = end

    def __len__(self) -> int:
        return self.end - self.start

    def bytes(self) -> memoryview:
        """Return the message's bytes."""
        return self.data[self.start : self.end]

    def fields(self) -> "Iterator[tuple[int, int, int | Message]]":
        """Yield each field's number, wire type and value: an int of a varint, else the bytes of the rest.

        Neighbouring fixed-size values of one field come together, tags and all: that is how a list of numbers
        is written that is not packed, and one Python step a number would take minutes.

        Raises:
            WireError: If the bytes are no message.
        """
        position = self.start
        while position < self.end:
            at = position
            tag, position = self.varint(position)
            number, kind = tag >> 3, tag & 7
            if number == 0:
                raise WireError(f"byte {at}: a field numbered 0")
            if kind == VARINT:
                value, position = self.varint(position)
                yield number, kind, value
            elif kind == DELIMITED:
                size, position = self.varint(position)
                if size > self.end - position:
                    raise WireError(
                        f"byte {at}: field {number} has {size} bytes, but only {self.end - position} follow"
                    )
                yield number, kind, Message(self.data, position, position + size)
                position += size
            elif kind in _FIXED_SIZES:
                step = position - at + _FIXED_SIZES[kind]
                if at + step > self.end:
                    raise WireError(f"byte {at}: field {number} ends after the message")
                end = self._end_of_run(at, self.data[at:position], step)
                yield number, kind, Message(self.data, at, end)
                position = end
            else:
                raise WireError(f"byte {at}: field {number} is of wire type {kind}, which Caffe does not use")

    def varint(self, position: int) -> tuple[int, int]:
        """Return the number that starts at a position, and the position after it.

        Raises:
            WireError: If the message ends within it.
        """
        value = 0
        for shift in range(0, 70, 7):
            if position >= self.end:
                raise WireError(f"byte {position}: the message ends within a number")
            byte = self.data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
        raise WireError(f"byte {position}: a number of more than ten bytes")

    def _end_of_run(self, start: int, tag: memoryview, step: int) -> int:
        """Return where the values end that follow each other, each behind the same tag."""
        position = start
        while position + step <= self.end:
            records = min(_RECORDS, (self.end - position) // step)
            data = np.frombuffer(self.data[position : position + records * step], np.uint8)
            same = (data.reshape(records, step)[:, : len(tag)] == np.frombuffer(tag, np.uint8)).all(axis=1)
            if not same.all():
                return position + int(same.argmin()) * step
            position += records * step
        return position


def varint(value: int) -> bytes:
    """Return the bytes of a number that is not negative."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def delimited(number: int, payload: bytes) -> bytes:
    """Return a field of strings, bytes, packed numbers or a message."""
    return header(number, len(payload)) + payload


def header(number: int, size: int) -> bytes:
    """Return what precedes the ``size`` bytes of such a field."""
    return varint(number << 3 | DELIMITED) + varint(size)
