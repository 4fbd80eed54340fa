"""What both clients know of a stream while it runs: what was sent, what came back, and what that means."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from time import monotonic
from typing import TypeAlias

import grpc
from numpy.typing import ArrayLike

from lvseg.errors import InputError, LvsegError, ServerError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.answers import Output, Segmentation, SeriesSummary
from lvseg_serve.client.converters import from_segment_response, from_series_summary, to_message
from lvseg_serve.client.errors import from_status, no_answer, typed_errors
from lvseg_serve.client.security import Tls
from lvseg_serve.defaults import MAX_ID

PART_BYTES = 2**19
"""Of a file in one message: even with a contour beside it, no server's limit is that low."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SeriesSlice:
    """One slice of a series to send; the fields are the arguments of :meth:`Client.segment`."""

    id: str
    """1 to 128 characters, unlike those of the slices that are not answered yet; the answer comes under it."""
    dicom: bytes
    contour: ArrayLike | str | None = None
    frame: int | None = None
    pixel_spacing: tuple[float, float] | None = None


Result: TypeAlias = tuple[str, Segmentation | LvsegError]
"""A slice's id, and its answer or why there is none."""
Event: TypeAlias = pb.SegmentStreamResponse | grpc.RpcError | Result | None
"""What a stream brings: an answer, its failure, a slice that was not even sent, or (None) its end."""


class Conversation:
    """One stream, told by a client of what it sends and receives. Its methods may be called from two threads.

    Args:
        outputs: What the answers shall carry.
        address: Of the server, for error texts.
        timeout_s: Seconds without a sign of the server while slices wait for their answers.
        tls: What the call is encrypted with, for error texts.
        max_message_bytes: Of the largest file to send.
    """

    def __init__(
        self,
        *,
        outputs: Collection[Output],
        address: str,
        timeout_s: float,
        tls: Tls | None,
        max_message_bytes: int,
    ) -> None:
        self._outputs = outputs
        self._address = address
        self._timeout_s = timeout_s
        self._tls = tls
        self._max_message_bytes = max_message_bytes
        self._waiting: set[str] = set()
        self._last_sign = monotonic()
        self.fault: Exception | None = None
        """What ended the caller's slices, if it was not their end."""
        self.summary: SeriesSummary | None = None

    def refusal(self, slice_: SeriesSlice) -> Result | None:
        """Return the result of a slice that is too large to be sent."""
        if len(slice_.dicom) <= self._max_message_bytes:
            return None
        expected = f"at most {self._max_message_bytes} bytes"
        error = InputError(
            f"the file has {len(slice_.dicom)} bytes, this client (--max-message-mib) sends {expected}",
            reason="TOO_LARGE",
            field="dicom",
            expected=expected,
        )
        return slice_.id, error

    def messages(self, slice_: SeriesSlice) -> Iterator[pb.SegmentStreamRequest]:
        """Yield the messages that carry a slice, to be sent one after the other.

        Raises:
            ValueError: If the slice makes no message, or its id is none or under way.
        """
        if not 1 <= len(slice_.id) <= MAX_ID:
            raise ValueError(f"expected an id of 1 to {MAX_ID} characters, got {len(slice_.id)}")
        if slice_.id in self._waiting:
            raise ValueError(f"the id {slice_.id!r} is that of a slice whose answer has not come yet")
        content = slice_.dicom
        message = to_message(
            content[:PART_BYTES], slice_.contour, slice_.frame, slice_.pixel_spacing, self._outputs
        )
        self._waiting.add(slice_.id)
        self._last_sign = monotonic()
        yield pb.SegmentStreamRequest(id=slice_.id, slice=message, more=len(content) > PART_BYTES)
        for start in range(PART_BYTES, len(content), PART_BYTES):
            self._last_sign = monotonic()
            end = start + PART_BYTES
            yield pb.SegmentStreamRequest(
                id=slice_.id, dicom_part=content[start:end], more=end < len(content)
            )

    def take(self, event: Event) -> Result | None:
        """Return the result that an event brings; None for one that brings none.

        Raises:
            StopIteration: At the end.
            ServerError: If the stream failed, or ended before its time.
            Exception: What ended the caller's slices.
        """
        self._last_sign = monotonic()
        if isinstance(event, tuple):
            return event
        if isinstance(event, grpc.RpcError):
            with typed_errors(self._address, self._timeout_s, self._tls):
                raise event
        if event is None:
            if self.fault is not None:
                raise self.fault
            if self.summary is None or self._waiting:
                raise ServerError(
                    f"the server at {self._address} ended the stream with {len(self._waiting)} slices unanswered"
                )
            raise StopIteration
        match event.WhichOneof("outcome"):
            case "segmentation":
                self._waiting.discard(event.id)
                return event.id, self._answer(event.segmentation)
            case "error":
                self._waiting.discard(event.id)
                return event.id, from_status(event.error, self._address, self._timeout_s)
            case "summary":
                self.summary = from_series_summary(event.summary)
        return None

    def wait_s(self) -> float:
        """Return for how long to wait for the next event.

        Raises:
            ServerError: If slices have waited for too long without a sign of the server.
        """
        if not self._waiting:
            return self._timeout_s
        left_s = self._last_sign + self._timeout_s - monotonic()
        if left_s <= 0:
            raise no_answer(self._address, self._timeout_s)
        return left_s

    def _answer(self, message: pb.SegmentResponse) -> Segmentation | LvsegError:
        try:
            return from_segment_response(message, self._outputs)
        except ServerError as error:
            return error
