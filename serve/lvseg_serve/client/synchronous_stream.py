"""A stream of slices for ordinary code."""

import math
import queue
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

import grpc

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_serve.answers import SeriesSummary
from lvseg_serve.client.conversation import Conversation, Event, FurtherCall, Result, SeriesSlice
from lvseg_serve.client.outbox import Outgoing


class SegmentStream:
    """The answers to the slices of a series, as they come: an iterator of ids with answers or errors.

    The slices are taken from their iterable in another thread, one when there is room for it. Iterating to
    the end, an error, and :meth:`close` end the stream; use ``with`` where you may stop early.
    """

    def __init__(
        self,
        stub: SegmentationServiceStub,
        slices: Iterable[SeriesSlice],
        conversation: Conversation,
        *,
        window: int,
        metadata: tuple[tuple[str, str], ...],
    ) -> None:
        if window < 1:
            raise ValueError(f"window must be at least 1, got {window}")
        self._stub = stub
        self._metadata = metadata
        self._conversation = conversation
        self._changed = threading.Condition()
        """Of the conversation, which is touched by whoever holds it, and of what is to be sent."""
        self._room = threading.Semaphore(window)
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._closed = False
        self._call = self._begin_call()
        threading.Thread(
            target=self._take_slices, args=[iter(slices)], name="lvseg-slices", daemon=True
        ).start()

    @property
    def summary(self) -> SeriesSummary | None:
        """What became of the whole series; None before the end."""
        return self._conversation.summary

    def close(self) -> None:
        """End the stream; slices that wait for an answer are given up."""
        self._closed = True
        self._room.release()  # for the thread that waits to take the next
        with self._changed:
            self._changed.notify_all()
        self._call.cancel()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Result:
        try:
            while not self._closed:
                event = self._event()
                with self._changed:
                    outcome = self._conversation.take(event)
                    if outcome is None:  # a slice may have been lost
                        self._changed.notify_all()
                if isinstance(outcome, FurtherCall):
                    self._go_on(outcome.wait_s)
                elif outcome is not None:
                    self._room.release()
                    return outcome
        except BaseException:
            self.close()
            raise
        raise StopIteration

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _begin_call(self) -> Any:
        with self._changed:
            number = self._conversation.begin_call()
            self._changed.notify_all()  # whoever sends for the former call ends
        call = self._stub.SegmentStream(self._messages(number), metadata=self._metadata)
        threading.Thread(target=self._receive, args=[call], name="lvseg-stream", daemon=True).start()
        return call

    def _go_on(self, wait_s: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed, wait_s)
        if not self._closed:
            self._call = self._begin_call()
        if self._closed:  # by another thread, which may have seen the former call
            self._call.cancel()

    def _event(self) -> Event:
        while True:
            with self._changed:
                wait_s = self._conversation.wait_s()
            try:
                return self._inbox.get(timeout=wait_s)
            except queue.Empty:
                continue  # what there is to wait for may have changed meanwhile

    def _take_slices(self, slices: Iterator[SeriesSlice]) -> None:
        """Take the caller's slices, in a thread of their own: however long they take, others are sent again."""
        fault: Exception | None = None
        try:
            while self._room.acquire() and not self._closed:
                slice_ = next(slices, None)
                if slice_ is None:
                    break
                refusal = self._conversation.refusal(slice_)
                if refusal is not None:
                    self._inbox.put(refusal)
                    continue
                outgoing = self._conversation.outgoing(slice_)
                with self._changed:
                    self._conversation.add(outgoing)
                    self._changed.notify_all()
        except Exception as error:  # noqa: BLE001  raised where the answers are taken, after those still to come
            fault = error
        with self._changed:
            self._conversation.complete(fault)
            self._changed.notify_all()

    def _messages(self, call: int) -> Iterator[pb.SegmentStreamRequest]:
        """Yield what to send, in a thread of gRPC's that asks for the next when one is sent."""
        while (slice_ := self._next(call)) is not None:
            yield from self._conversation.messages(slice_)

    def _next(self, call: int) -> Outgoing | None:
        with self._changed:
            while not self._closed:
                found = self._conversation.next(call)
                if not isinstance(found, float):
                    return found
                self._changed.wait(None if found == math.inf else found)
        return None

    def _receive(self, call: Any) -> None:
        try:
            for message in call:
                self._inbox.put(message)
            self._inbox.put(None)
        except grpc.RpcError as error:
            self._inbox.put(error)
