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
from lvseg_serve.client.converters import from_segment_response, to_message
from lvseg_serve.client.errors import from_status, no_answer, typed_errors
from lvseg_serve.client.outbox import PART_BYTES, Outbox, Outgoing
from lvseg_serve.client.patience import Acquaintance, Patience
from lvseg_serve.client.security import Tls
from lvseg_serve.defaults import MAX_ID
from lvseg_serve.series import Series

MOST_TRIES = 5
"""How often a slice is sent that is lost each time, such as one that its worker does not survive."""


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


@dataclass(frozen=True)
class FurtherCall:
    """A call has ended and slices are left: the stream goes on over another one."""

    wait_s: float
    """Until it may begin."""


class Conversation:
    """One stream, told by a client of what it sends and receives, whatever number of calls that takes.

    It is for one thread at a time; :meth:`refusal`, :meth:`outgoing` and :meth:`messages` are for any.

    Args:
        outputs: What the answers shall carry.
        address: Of the server, for error texts.
        timeout_s: Seconds without a sign of the server while slices wait for their answers.
        acquaintance: With the server: for how long a slice that was lost is sent again, and a call is begun anew.
        tls: What the calls are encrypted with, for error texts.
        max_message_bytes: Of the largest file to send.
    """

    def __init__(
        self,
        *,
        outputs: Collection[Output],
        address: str,
        timeout_s: float,
        acquaintance: Acquaintance,
        tls: Tls | None,
        max_message_bytes: int,
    ) -> None:
        self._outputs = outputs
        self._address = address
        self._timeout_s = timeout_s
        self._acquaintance = acquaintance
        self._tls = tls
        self._max_message_bytes = max_message_bytes
        self._outbox = Outbox()
        self._series = Series()
        self._call_is_summed_up = False
        self._last_sign = monotonic()
        self._patience: Patience | None = None
        """Since a call broke off, until all that was in it is answered."""
        self._fault: Exception | None = None
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

    def outgoing(self, slice_: SeriesSlice) -> Outgoing:
        """Return a slice as it is sent.

        Raises:
            ValueError: If it makes no message, or its id is none.
        """
        if not 1 <= len(slice_.id) <= MAX_ID:
            raise ValueError(f"expected an id of 1 to {MAX_ID} characters, got {len(slice_.id)}")
        content = slice_.dicom
        request = to_message(
            content[:PART_BYTES], slice_.contour, slice_.frame, slice_.pixel_spacing, self._outputs
        )
        beginning = pb.SegmentStreamRequest(id=slice_.id, slice=request, more=len(content) > PART_BYTES)
        return Outgoing(slice_.id, content, beginning)

    def add(self, slice_: Outgoing) -> None:
        """Take in a slice to be sent.

        Raises:
            ValueError: If its id is that of one under way.
        """
        if slice_.id in self._outbox:
            raise ValueError(f"the id {slice_.id!r} is that of a slice whose answer has not come yet")
        self._last_sign = monotonic()
        if not self._outbox:
            self._patience = None  # of a break while nobody waited
        self._outbox.add(slice_)

    def complete(self, fault: Exception | None) -> None:
        """Take note that no further slice comes, and what ended the caller's slices if it was not their end."""
        self._fault = fault
        self._outbox.complete = True

    def begin_call(self) -> int:
        """Return the number of a call that is about to begin, in the place of the one before it."""
        self._call_is_summed_up = False
        self._last_sign = monotonic()
        return self._outbox.begin_call()

    def next(self, call: int) -> Outgoing | float | None:
        """Return what a call is to send next; see :meth:`Outbox.next`."""
        return self._outbox.next(call)

    def messages(self, slice_: Outgoing) -> Iterator[pb.SegmentStreamRequest]:
        """Yield the messages of a slice; that the server takes them is a sign of it."""
        for message in slice_.messages():
            self._last_sign = monotonic()
            yield message

    def take(self, event: Event) -> Result | FurtherCall | None:
        """Return the result that an event brings, or that another call has to go on; ``None`` for neither.

        Raises:
            StopIteration: At the end.
            ServerError: If the stream failed, or ended before its time.
            Exception: What ended the caller's slices.
        """
        if isinstance(event, tuple):
            self._series.add_failure()
            return event
        self._last_sign = monotonic()
        if isinstance(event, grpc.RpcError):
            return self._broken_off(event)
        self._acquaintance.met = True
        if event is None:
            return self._end_of_call()
        match event.WhichOneof("outcome"):
            case "segmentation":
                return self._answer(event.id, event.segmentation)
            case "error":
                return self._failure(event.id, from_status(event.error, self._address, self._timeout_s))
            case "summary":
                self._call_is_summed_up = True
        return None

    def wait_s(self) -> float:
        """Return for how long to wait for the next event.

        Raises:
            ServerError: If slices have waited for too long without a sign of the server.
        """
        if not self._outbox:
            return self._timeout_s
        left_s = self._last_sign + self._timeout_s - monotonic()
        if left_s <= 0:
            raise no_answer(self._address, self._timeout_s)
        return left_s

    def _broken_off(self, event: grpc.RpcError) -> FurtherCall:
        try:
            with typed_errors(self._address, self._timeout_s, self._tls):
                raise event
        except ServerError as error:
            self._acquaintance.heard(error)
            # Nobody waits while no slice is under way: however long the next one takes, its time begins with it.
            idle = self._acquaintance.met and not self._outbox and not self._outbox.complete
            if self._patience is None or idle:
                self._patience = self._acquaintance.patience()
            return FurtherCall(self._patience.wait_s(error))

    def _end_of_call(self) -> FurtherCall:
        if self._call_is_summed_up and self._outbox.has_lost:
            return FurtherCall(0.0)
        if self._fault is not None:
            raise self._fault
        if self._outbox or not self._call_is_summed_up:
            raise ServerError(
                f"the server at {self._address} ended the stream with {len(self._outbox)} slices unanswered"
            )
        self.summary = self._series.summary()
        raise StopIteration

    def _answer(self, id_: str, message: pb.SegmentResponse) -> Result:
        self._answered(id_)
        try:
            answer = from_segment_response(message, self._outputs)
        except ServerError as error:
            self._series.add_failure()
            return id_, error
        self._series.add(answer)
        return id_, answer

    def _failure(self, id_: str, error: LvsegError) -> Result | None:
        """Return the result of a slice that was refused or failed, unless it is sent again."""
        slice_ = self._outbox.sent(id_)
        if slice_ is not None and isinstance(error, ServerError):
            slice_.patience = slice_.patience or self._acquaintance.patience(tries=MOST_TRIES)
            wait_s = slice_.patience.try_again_in_s(error)
            if wait_s is not None:
                self._outbox.send_again(slice_, wait_s)
                return None
        self._answered(id_)
        self._series.add_failure()
        return id_, error

    def _answered(self, id_: str) -> None:
        self._outbox.answered(id_)
        if self._patience is not None and not self._outbox.has_cut_off:
            self._patience = None
