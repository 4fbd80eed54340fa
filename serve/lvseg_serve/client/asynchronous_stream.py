"""A stream of slices for asyncio."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import grpc

from lvseg_serve.answers import SeriesSummary
from lvseg_serve.client.conversation import Conversation, Event, Result, SeriesSlice

if TYPE_CHECKING:  # a name for type checkers alone
    from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceAsyncStub


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
        self._conversation = conversation
        self._room = asyncio.Semaphore(window)
        self._inbox: asyncio.Queue[Event] = asyncio.Queue()
        self._closed = False
        self._call = stub.SegmentStream(None, metadata=metadata)
        self._tasks = (
            asyncio.create_task(self._send(_asynchronous(slices))),
            asyncio.create_task(self._receive()),
        )

    @property
    def summary(self) -> SeriesSummary | None:
        """What the server says of the whole series; None before the end."""
        return self._conversation.summary

    async def close(self) -> None:
        """End the stream; slices that wait for an answer are given up."""
        self._closed = True
        self._call.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Result:
        if self._closed:
            raise StopAsyncIteration
        try:
            while True:
                result = self._conversation.take(await self._event())
                if result is not None:
                    self._room.release()
                    return result
        except StopIteration:
            await self.close()
            raise StopAsyncIteration from None
        except BaseException:
            await self.close()
            raise

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

    async def _send(self, slices: AsyncIterator[SeriesSlice]) -> None:
        try:
            while await self._room.acquire():
                slice_ = await anext(slices, None)
                if slice_ is None:
                    break
                refusal = self._conversation.refusal(slice_)
                if refusal is not None:
                    self._inbox.put_nowait(refusal)
                    continue
                for message in self._conversation.messages(slice_):
                    try:
                        await self._call.write(message)
                    except (grpc.RpcError, asyncio.InvalidStateError):
                        return  # the call has ended; whoever receives learns why
        except Exception as error:  # noqa: BLE001  raised where the answers are taken, after those still to come
            self._conversation.fault = error
        await self._call.done_writing()

    async def _receive(self) -> None:
        try:
            async for message in self._call:
                self._inbox.put_nowait(message)
            self._inbox.put_nowait(None)
        except grpc.RpcError as error:
            self._inbox.put_nowait(error)


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
