"""What one connection may ask, at a real server with limits that are reached at once."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_serve.rpc.connections import ConnectionLimits
from lvseg_serve.rpc.server import running_server
from lvseg_serve.segmenter import Room
from tests.serve.rpc.conftest import wait_until_sent_away

Serving = Callable[..., Any]


@pytest.fixture
def serving_limited(info: Any, make_segmenter: Callable[..., Any]) -> Serving:
    @asynccontextmanager
    async def serving(engine: Any, limits: ConnectionLimits, **options: Any) -> AsyncIterator[str]:
        segmenter = make_segmenter(engine, **options)
        async with running_server(segmenter, info, listen="127.0.0.1:0", connections=limits) as address:
            yield address

    return serving


async def _left(channel: grpc.aio.Channel, state: grpc.ChannelConnectivity) -> None:
    """Wait until a channel is in another state."""
    async with asyncio.timeout(60):
        await channel.wait_for_state_change(state)


async def test_who_connects_and_says_nothing_is_sent_away(serving_limited: Serving, engine: Any) -> None:
    async with serving_limited(engine, ConnectionLimits(handshake_s=0.2)) as address:
        await wait_until_sent_away(address)


async def test_an_idle_connection_is_closed_and_made_again_with_the_next_call(
    serving_limited: Serving, engine: Any, dicom: bytes
) -> None:
    async with (
        serving_limited(engine, ConnectionLimits(idle_s=0.2)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        stub = SegmentationServiceStub(channel)
        await stub.Segment(pb.SegmentRequest(dicom=dicom))
        await _left(channel, grpc.ChannelConnectivity.READY)
        assert (await stub.Segment(pb.SegmentRequest(dicom=dicom))).area_mm2 == 900.0


async def test_a_call_under_way_outlives_its_connections_age(
    serving_limited: Serving, gated_engine: Any, dicom: bytes
) -> None:
    async with (
        serving_limited(gated_engine, ConnectionLimits(age_s=0.2)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        call = SegmentationServiceStub(channel).Segment(pb.SegmentRequest(dicom=dicom))
        await asyncio.to_thread(gated_engine.entered.wait, 60)
        await _left(channel, grpc.ChannelConnectivity.READY)
        gated_engine.gate.set()
        assert (await call).area_mm2 == 900.0


async def test_calls_beyond_a_connections_streams_wait_at_the_caller(
    serving_limited: Serving, gated_engine: Any, dicom: bytes
) -> None:
    # The segmenter takes one slice: were the second call sent beside the first, it would be refused.
    async with (
        serving_limited(gated_engine, ConnectionLimits(streams=1), room=Room(slices=1)) as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        calls = [SegmentationServiceStub(channel).Segment(pb.SegmentRequest(dicom=dicom)) for _ in range(2)]
        await asyncio.to_thread(gated_engine.entered.wait, 60)
        gated_engine.gate.set()
        assert [answer.area_mm2 for answer in await asyncio.gather(*calls)] == [900.0, 900.0]
