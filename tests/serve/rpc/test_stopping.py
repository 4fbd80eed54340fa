"""Streams of a server that is told to stop: what was taken is answered, and none holds the stop up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from tritonclient.grpc import service_pb2 as kserve_pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_export.engines.base import Engine
from lvseg_serve.answers import ServerInfo
from lvseg_serve.rpc.kserve.face import add_kserve
from lvseg_serve.rpc.server import running_server
from lvseg_serve.segmenter import Segmenter

GRACE_S = 600.0
"""A stop that waits for this long is not waited for by any test."""


class Stoppable:
    """A server with every face, and a channel to it; ``stop`` returns when it has stopped."""

    def __init__(self, stack: AsyncExitStack, channel: grpc.aio.Channel) -> None:
        self._stack = stack
        self.channel = channel
        self.stub = SegmentationServiceStub(channel)

    async def stop(self) -> None:
        async with asyncio.timeout(30):
            await self._stack.aclose()


@pytest.fixture
async def serving(
    info: ServerInfo, make_segmenter: Callable[[Engine], Segmenter]
) -> AsyncIterator[Callable[[Engine], Any]]:
    async with AsyncExitStack() as channels:

        async def serving(engine: Engine) -> Stoppable:
            stack = AsyncExitStack()
            address = await stack.enter_async_context(
                running_server(
                    make_segmenter(engine), info, listen="127.0.0.1:0", grace_s=GRACE_S, faces=[add_kserve]
                )
            )
            channel = await channels.enter_async_context(grpc.aio.insecure_channel(address))
            return Stoppable(stack, channel)

        yield serving


def message(id_: str, dicom: bytes) -> pb.SegmentStreamRequest:
    return pb.SegmentStreamRequest(id=id_, slice=pb.SegmentRequest(dicom=dicom))


async def ended_by_the_stop(call: Any) -> None:
    """Hold a call to having ended with UNAVAILABLE, its reason, and when to come again."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with asyncio.timeout(30):
            await call.read()
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    status = rpc_status.from_call(caught.value)
    reason, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(reason)
    assert status.details[1].Unpack(retry)
    assert (reason.reason, retry.retry_delay.seconds) == ("STOPPING", 3)


async def test_a_stream_in_which_nothing_is_said_ends_at_once(serving, engine: Engine, dicom: bytes) -> None:
    server = await serving(engine)
    stream = server.stub.SegmentStream()
    await stream.write(message("a", dicom))
    assert (await stream.read()).segmentation.area_mm2 == 900.0
    await server.stop()
    await ended_by_the_stop(stream)


async def test_what_a_stream_has_taken_is_answered_before_it_ends(
    serving, gated_engine, dicom: bytes
) -> None:
    server = await serving(gated_engine)
    stream = server.stub.SegmentStream()
    await stream.write(message("a", dicom))
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.5)
    assert not stopping.done()
    gated_engine.gate.set()
    assert (await stream.read()).segmentation.area_mm2 == 900.0
    await ended_by_the_stop(stream)
    await stopping


async def test_a_series_that_was_read_to_its_end_has_its_summary(serving, gated_engine, dicom: bytes) -> None:
    server = await serving(gated_engine)
    stream = server.stub.SegmentStream(iter([message(str(number), dicom) for number in range(4)]))
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    await asyncio.sleep(0.5)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.5)
    gated_engine.gate.set()
    *answers, last = [answer async for answer in stream]
    assert [answer.segmentation.area_mm2 for answer in answers] == [900.0] * 4
    assert last.summary.answered == 4
    await stopping


async def test_a_slice_that_has_not_been_read_when_the_stop_comes_is_not_taken(
    serving, gated_engine, dicom: bytes
) -> None:
    server = await serving(gated_engine)
    stream = server.stub.SegmentStream()
    for number in range(6):  # four may be under way
        await stream.write(message(str(number), dicom))
    await asyncio.to_thread(gated_engine.entered.wait, 60)
    await asyncio.sleep(0.5)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.5)
    gated_engine.gate.set()
    answers = [await stream.read() for _ in range(4)]
    assert {answer.id for answer in answers} == set("0123")
    await ended_by_the_stop(stream)
    await stopping
    assert sum(shape[0] for shape in gated_engine.shapes) == 4


async def test_a_stream_of_kserves_protocol_ends_at_once(serving, engine: Engine) -> None:
    server = await serving(engine)
    stream = GRPCInferenceServiceStub(server.channel).ModelStreamInfer()
    await stream.write(kserve_pb.ModelInferRequest(model_name="none"))
    assert "is not served here" in (await stream.read()).error_message
    await server.stop()
    await ended_by_the_stop(stream)


async def test_who_watches_the_health_is_told_and_holds_nothing_up(serving, engine: Engine) -> None:
    server = await serving(engine)
    watch = health_pb2_grpc.HealthStub(server.channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    await server.stop()
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    await ended_by_the_stop(watch)


async def test_who_asked_what_there_is_to_call_holds_nothing_up(serving, engine: Engine) -> None:
    server = await serving(engine)
    stream = reflection_pb2_grpc.ServerReflectionStub(server.channel).ServerReflectionInfo()
    await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    assert (await stream.read()).list_services_response.service
    await server.stop()
    await ended_by_the_stop(stream)
