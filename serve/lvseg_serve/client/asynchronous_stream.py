"""A stream of slices for asyncio."""

import asyncio
import math
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import grpc

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.answers import SeriesSummary
from lvseg_serve.client.conversation import Conversation, Event, FurtherCall, Result, SeriesSlice
from lvseg_serve.client.errors import was_cut_off
from lvseg_serve.client.outbox import Outgoing

if TYPE_CHECKING:  # a name for type checkers alone
    from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceAsyncStub

_WHY_S = 5.0


class AsyncSegmentStream:
    """The answers to the slices of a series, as they come: :class:`SegmentStream` for asyncio.

    Slices of an ordinary iterable are taken in another thread, so that reading files does not hold up the
    event loop.
    """

    def __init__(
        self,
        stub: "SegmentationServiceAsyncStub",
        slices: Iterable[SeriesSlice] | AsyncIterable[SeriesSlice],
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
        self._changed = asyncio.Event()
        """There may be something to send."""
        self._room = asyncio.Semaphore(window)
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._closed = False
        self._slices = asyncio.create_task(self._take_slices(_asynchronous(slices)))
        self._call, self._exchange = self._begin_call()

    @property
    def summary(self) -> SeriesSummary | None:
        """What became of the whole series; None before the end."""
        return self._conversation.summary

    async def close(self) -> None:
        """End the stream; slices that wait for an answer are given up."""
        self._closed = True
        self._call.cancel()
        await _end((self._slices, *self._exchange))

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        try:
            while not self._closed:
                outcome = self._conversation.take(await self._event())
                if outcome is None:
                    self._changed.set()  # a slice may have been lost
                elif isinstance(outcome, FurtherCall):
                    await _end(self._exchange)
                    await asyncio.sleep(outcome.wait_s)
                    if not self._closed:  # by another task meanwhile
                        self._call, self._exchange = self._begin_call()
                else:
                    self._room.release()
                    return outcome
        except StopIteration:
            await self.close()
        except BaseException:
            await self.close()
            raise
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _event(self) -> Event:
        while True:
            wait_s = self._conversation.wait_s()
            try:
                return await asyncio.wait_for(self._inbox.get(), wait_s)
            except TimeoutError:
                continue  # what there is to wait for may have changed meanwhile

    def _begin_call(self) -> tuple[Any, tuple[asyncio.Task[None], asyncio.Task[None]]]:
        number = self._conversation.begin_call()
        call = self._stub.SegmentStream(None, metadata=self._metadata)
        return call, (
            asyncio.create_task(self._send(number, call)),
            asyncio.create_task(self._receive(call)),
        )

    async def _take_slices(self, slices: AsyncIterator[SeriesSlice]) -> None:
        """Take the caller's slices, in a task of their own: however long they take, others are sent again."""
        fault: Exception | None = None
        try:
            while await self._room.acquire():
                slice_ = await anext(slices, None)
                if slice_ is None:
                    break
                refusal = self._conversation.refusal(slice_)
                if refusal is not None:
                    self._inbox.put_nowait(refusal)
                    continue
                self._conversation.add(self._conversation.outgoing(slice_))
                self._changed.set()
        except Exception as error:  # noqa: BLE001  raised where the answers are taken, after those still to come
            fault = error
        self._conversation.complete(fault)
        self._changed.set()

    async def _send(self, number: int, call: Any) -> None:
        while (slice_ := await self._next(number)) is not None:
            for message in self._conversation.messages(slice_):
                try:
                    await call.write(message)
                except (grpc.RpcError, asyncio.InvalidStateError):
                    return  # the call has ended; whoever receives learns why
        await call.done_writing()

    async def _next(self, call: int) -> Outgoing | None:
        while True:
            self._changed.clear()
            found = self._conversation.next(call)
            if not isinstance(found, float):
                return found
            try:
                async with asyncio.timeout(None if found == math.inf else found):
                    await self._changed.wait()
            except TimeoutError:
                continue  # it is due

    async def _receive(self, call: Any) -> None:
        try:
            async for message in call:
                self._inbox.put_nowait(message)
            self._inbox.put_nowait(None)
        except grpc.RpcError as error:
            self._inbox.put_nowait(await self._why(error))

    async def _why(self, error: grpc.RpcError) -> grpc.RpcError:
        """Return why a stream ended: one that was cut off may have been refused, which a call without a body hears."""
        if was_cut_off(error):
            try:
                await self._stub.GetServerInfo(
                    pb.GetServerInfoRequest(), timeout=_WHY_S, metadata=self._metadata
                )
            except grpc.RpcError as told:
                if told.code() is not grpc.StatusCode.DEADLINE_EXCEEDED:
                    return told
        return error


async def _end(tasks: Iterable[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _asynchronous(
    slices: Iterable[SeriesSlice] | AsyncIterable[SeriesSlice],
) -> AsyncIterator[SeriesSlice]:
    if isinstance(slices, AsyncIterable):
        async for slice_ in slices:
            yield slice_
        return
    iterator = iter(slices)
    while (slice_or_end := await asyncio.to_thread(next, iterator, None)) is not None:
        yield slice_or_end
