"""Servers in the test's own event loop, and channels to them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import grpc
import pytest

from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_export.engines.base import Engine
from lvseg_serve.answers import ModelIdentity, Segmentation, ServerInfo
from lvseg_serve.rpc.server import running_server
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.stages import SliceRequest


@pytest.fixture
def serving_channel(
    info: ServerInfo, make_segmenter: Callable[[Engine], Segmenter]
) -> Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]]:
    """Run a server in this event loop, with an engine or a segmenter; gives a channel to it."""

    @asynccontextmanager
    async def serving(worker: Engine | Segmenter) -> AsyncIterator[grpc.aio.Channel]:
        segmenter = worker if isinstance(worker, Segmenter) else make_segmenter(worker)
        async with (
            running_server(segmenter, info, listen="127.0.0.1:0") as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            yield channel

    return serving


@pytest.fixture
async def channel(serving_channel, engine: Engine) -> AsyncIterator[grpc.aio.Channel]:
    async with serving_channel(engine) as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> SegmentationServiceStub:
    return SegmentationServiceStub(channel)


class WatchedSegmenter(Segmenter):
    """A segmenter that tells how many slices are with it, were at most, and have left it again."""

    def __init__(self, *arguments, **options) -> None:
        super().__init__(*arguments, **options)
        self.inside = self.most = self.left = 0

    async def segment(self, request: SliceRequest, *, held: bool = False) -> Segmentation:
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            return await super().segment(request, held=held)
        finally:
            self.inside -= 1
            self.left += 1

    async def until(self, *, inside: int) -> None:
        """Wait until so many slices are here."""
        while self.inside != inside:
            await asyncio.sleep(0)


@pytest.fixture
def watched(model: ModelIdentity) -> Callable[..., WatchedSegmenter]:
    """Make a watched segmenter around an engine."""

    def watched(engine: Engine, **options) -> WatchedSegmenter:
        return WatchedSegmenter(engine, model=model, working_spacing_mm=1.5, **options)

    return watched


async def wait_until_sent_away(address: str) -> None:
    """Connect, say nothing, and wait until the other end closes the connection."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    async with asyncio.timeout(60):
        while await reader.read(1024):  # the server's own first frame
            pass
    writer.close()
    await writer.wait_closed()
