"""From the bytes of a request to its message, which may take many times as much memory as they do.

A corner of no coordinates is two bytes on the wire and some forty as a message, and an output is one byte and four: a
message of the largest size that is accepted would become several hundred MiB, in the thread that serves everyone.
So the fields are counted first (https://protobuf.dev/programming-guides/encoding).
"""

from collections.abc import Iterator
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError, Message

from lvseg.contour import too_long
from lvseg.dicom import LARGEST_SIDE
from lvseg.errors import InputError
from lvseg_api.v1 import segmentation_pb2 as pb

_MOST_FIELDS = 64
"""Of a message, outputs counted one by one where they are written so."""
_MOST_BYTES_BESIDE_DICOM = LARGEST_SIDE**2 // 8 + 2**12
"""The mask of the largest slice; the longest contour has a third of it as text."""

_SLICE_FIELDS = pb.SegmentRequest.DESCRIPTOR.fields_by_name
_DICOM, _CONTOUR = _SLICE_FIELDS["dicom"].number, _SLICE_FIELDS["contour"].number
_STREAM_FIELDS = pb.SegmentStreamRequest.DESCRIPTOR.fields_by_name
_SLICE, _DICOM_PART = _STREAM_FIELDS["slice"].number, _STREAM_FIELDS["dicom_part"].number
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10

_AnyMessage = TypeVar("_AnyMessage", bound=Message)


class Unread:
    """A request as it was sent, to be taken out once.

    gRPC keeps the frames of a call that was aborted, and what they hold, until garbage is next collected: of a server
    that refuses large files they would be hundreds of MiB.
    """

    def __init__(self, data: bytes) -> None:
        self._data = [data]

    def take(self) -> bytes:
        """Return the bytes, and let go of them."""
        return self._data.pop()


class Field(NamedTuple):
    """One field of a message, as it was sent."""

    number: int
    content: memoryview


def parse_request(data: bytes) -> pb.SegmentRequest:
    """Return the message that bytes hold.

    Raises:
        InputError: ``MALFORMED_MESSAGE``, if they hold none, or one of more than any request needs.
        ContourError: ``TOO_MANY_POINTS``, if its contour is what is too much.
    """
    _check_request(memoryview(data))
    return parse(pb.SegmentRequest, data)


def parse_stream_request(data: bytes) -> pb.SegmentStreamRequest:
    """Return the message of a stream that bytes hold.

    Raises:
        InputError: As :func:`parse_request`.
        ContourError: As :func:`parse_request`.
    """
    beside = 0
    for field in fields(memoryview(data)):
        if field.number == _SLICE:
            beside = _check_request(field.content, beside)  # a parser merges several into one
        elif field.number != _DICOM_PART:
            beside += len(field.content)
    if beside > _MOST_BYTES_BESIDE_DICOM:
        raise malformed("a field of it is too long")
    return parse(pb.SegmentStreamRequest, data)


def parse(kind: type[_AnyMessage], data: bytes) -> _AnyMessage:
    """Return the message that bytes hold which were judged before.

    Raises:
        InputError: ``MALFORMED_MESSAGE``, if they hold none.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise malformed("it cannot be parsed") from error


def _check_request(data: memoryview, beside: int = 0) -> int:
    """Return how many bytes there are beside the file, those counted before among them."""
    for field in fields(data):
        if field.number != _DICOM:
            beside += len(field.content)
        if beside > _MOST_BYTES_BESIDE_DICOM:
            raise too_long("contour") if field.number == _CONTOUR else malformed("a field of it is too long")
    return beside


def fields(data: memoryview) -> Iterator[Field]:
    """Walk the fields of a message itself, not those of the messages in it.

    Raises:
        InputError: ``MALFORMED_MESSAGE``, if they are none or too many.
    """
    position = 0
    for _ in range(_MOST_FIELDS):
        if position == len(data):
            return
        key, start = _varint(data, position)
        kind = key & 7
        if kind == _VARINT:
            _, position = _varint(data, start)
        elif kind == _LENGTH_DELIMITED:
            length, start = _varint(data, start)
            position = start + length
        elif kind in _FIXED:
            position = start + _FIXED[kind]
        else:
            raise malformed("it has a group")
        if position > len(data):
            raise malformed("it is cut off")
        yield Field(key >> 3, data[start:position])
    if position < len(data):
        raise malformed(f"it has more than {_MOST_FIELDS} fields")


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return the number at a position, and where it ends."""
    number = 0
    for index, byte in enumerate(data[position : position + _LONGEST_VARINT]):
        number |= (byte & 127) << 7 * index
        if byte < 128:
            return number, position + index + 1
    raise malformed("it is cut off")


def malformed(found: str) -> InputError:
    """Return the error of a message in which something was found that no request has."""
    expected = "one of the service's .proto file"
    return InputError(
        f"the message is malformed: {found}; expected {expected}",
        reason="MALFORMED_MESSAGE",
        expected=expected,
    )
