"""A stream of slices for ordinary code."""

import queue
import threading
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

import grpc

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_serve.answers import SeriesSummary
from lvseg_serve.client.conversation import Conversation, Event, Result, SeriesSlice


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
        self._conversation = conversation
        self._room = threading.Semaphore(window)
        self._inbox: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._closed = False
        self._call = stub.SegmentStream(self._messages(iter(slices)), metadata=metadata)
        threading.Thread(target=self._receive, name="lvseg-stream", daemon=True).start()

    @property
    def summary(self) -> SeriesSummary | None:
        """What the server says of the whole series; None before the end."""
        return self._conversation.summary

    def close(self) -> None:
        """End the stream; slices that wait for an answer are given up."""
        self._closed = True
        self._room.release()  # for the thread that waits to send the next
        self._call.cancel()  # type: ignore[no-untyped-call]

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Result:
        if self._closed:
            raise StopIteration
        try:
            while True:
                result = self._conversation.take(self._event())
                if result is not None:
                    self._room.release()
                    return result
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _event(self) -> Event:
        while True:
            try:
                return self._inbox.get(timeout=self._conversation.wait_s())
            except queue.Empty:
                continue  # what there is to wait for may have changed meanwhile

    def _messages(self, slices: Iterator[SeriesSlice]) -> Iterator[pb.SegmentStreamRequest]:
        """Yield what to send, in a thread of gRPC's that asks for the next when one is sent."""
        try:
            while self._room.acquire() and not self._closed:
                slice_ = next(slices, None)
                if slice_ is None:
                    return
                refusal = self._conversation.refusal(slice_)
                if refusal is not None:
                    self._inbox.put(refusal)
                else:
                    yield from self._conversation.messages(slice_)
        except Exception as error:  # noqa: BLE001  raised where the answers are taken, after those still to come
            self._conversation.fault = error

    def _receive(self) -> None:
        try:
            for message in self._call:
                self._inbox.put(message)
            self._inbox.put(None)
        except grpc.RpcError as error:
            self._inbox.put(error)
