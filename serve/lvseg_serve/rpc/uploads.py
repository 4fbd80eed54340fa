"""From the messages of a stream to whole slices. A file may come in parts; one file is unfinished at a time."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from lvseg.errors import InputError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.defaults import MAX_ID


@dataclass(frozen=True)
class Whole:
    """A slice that has arrived."""

    id: str
    request: pb.SegmentRequest


@dataclass(frozen=True)
class Refused:
    """A slice that will not arrive."""

    id: str
    """Cut to ``MAX_ID``."""
    error: InputError


class Uploads:
    """Takes the messages of one stream in their order.

    What it holds is bounded: the parts of one file, and of them no more than ``max_bytes``. Once a file is
    refused, its further parts are dropped without a word, so that each file has one answer.

    Args:
        max_bytes: Of a whole file.
        under_way: The ids that cannot be used just now; looked at whenever a slice begins.
    """

    def __init__(self, *, max_bytes: int, under_way: Collection[str]) -> None:
        self._max_bytes = max_bytes
        self._under_way = under_way
        self._id: str | None = None
        """Of the file whose last part has not come."""
        self._request: pb.SegmentRequest | None = None
        """Its request; None when the file was refused and the rest of it is dropped."""
        self._content = bytearray()

    def take(self, message: pb.SegmentStreamRequest) -> Iterator[Whole | Refused]:
        """Take one message; gives what it completes or shows to be wrong, often nothing."""
        if message.id == self._id and message.HasField("dicom_part"):
            yield from self._go_on(message)
        else:
            yield from self.end()
            yield from self._begin(message)

    def end(self) -> Iterator[Refused]:
        """Take note that no part of the unfinished file, if there is one, will come any more."""
        if self._id is not None and self._request is not None:
            error = InputError(
                "the file ended before its last part; send its parts one after the other, the last without 'more'",
                reason="INCOMPLETE_FILE",
                field="more",
                expected="a last part",
            )
            yield Refused(self._id, error)
        self._forget()

    def _begin(self, message: pb.SegmentStreamRequest) -> Iterator[Whole | Refused]:
        error = self._fault(message)
        if error is not None:
            yield Refused(message.id[:MAX_ID], error)
        elif not message.more:
            yield Whole(message.id, message.slice)
        if message.more:
            self._id = message.id
            if error is None:
                self._request = message.slice
                self._content += message.slice.dicom
                self._request.ClearField("dicom")  # held once

    def _go_on(self, message: pb.SegmentStreamRequest) -> Iterator[Whole | Refused]:
        if self._request is not None:
            self._content += message.dicom_part
            if len(self._content) > self._max_bytes:
                yield Refused(message.id, self._too_large())
                self._request = None
                self._content = bytearray()
            elif not message.more:
                self._request.dicom = bytes(self._content)
                yield Whole(message.id, self._request)
        if not message.more:
            self._forget()

    def _forget(self) -> None:
        self._id = self._request = None
        self._content = bytearray()

    def _fault(self, message: pb.SegmentStreamRequest) -> InputError | None:
        """Return what is wrong with a message that begins a slice."""
        expected = f"1 to {MAX_ID} characters"
        if not 1 <= len(message.id) <= MAX_ID:
            return InputError(
                f"the id has {len(message.id)} characters, expected {expected}",
                reason="BAD_ID",
                field="id",
                expected=expected,
            )
        match message.WhichOneof("content"):
            case None:
                return InputError(
                    "the message has no content; give a slice, or a part of one that has begun",
                    reason="NO_CONTENT",
                    field="content",
                    expected="slice or dicom_part",
                )
            case "dicom_part":
                return InputError(
                    "a part came of a file that has not begun; send its 'slice' first",
                    reason="NO_BEGINNING",
                    field="dicom_part",
                    expected="a slice",
                )
        if message.id in self._under_way:
            return InputError(
                "the id is that of a slice under way, whose answer is still to come; use another",
                reason="DUPLICATE_ID",
                field="id",
                expected="an id that is not under way",
            )
        return self._too_large() if len(message.slice.dicom) > self._max_bytes else None

    def _too_large(self) -> InputError:
        return InputError(
            f"the file is larger than the {self._max_bytes} bytes that are accepted",
            reason="TOO_LARGE",
            field="dicom",
            expected=f"at most {self._max_bytes} bytes",
        )
