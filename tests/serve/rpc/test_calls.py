"""What an observer is told of calls to a real server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest
from google.protobuf import empty_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lvseg.errors import EngineError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_export.engines.base import Engine
from lvseg_serve.answers import ServerInfo, StageTimings
from lvseg_serve.observer import Call, Observer, Peer
from lvseg_serve.rpc.authentication import TokenInterceptor
from lvseg_serve.rpc.calls import NOT_RECEIVED, OTHER_METHOD
from lvseg_serve.rpc.server import running_server
from lvseg_serve.segmenter import Room, Segmenter

SEGMENT = "lvseg_api.v1.SegmentationService/Segment"


class Recorder(Observer):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.began: list[str] = []
        self.reasons: list[str] = []
        self.timings: list[StageTimings] = []
        self.ended: asyncio.Queue[Call] = asyncio.Queue()
        self.batches: list[int] = []
        self.readiness: list[bool] = []

    def ready(self, ready: bool) -> None:
        self.readiness.append(ready)

    def call_began(self, method: str) -> None:
        self.began.append(method)

    def refused(self, reason: str) -> None:
        self.reasons.append(reason)

    def segmented(self, timings: StageTimings) -> None:
        self.timings.append(timings)

    def call_ended(self, call: Call) -> None:
        self.ended.put_nowait(call)

    def batch(self, slices: int, seconds: float) -> None:  # noqa: ARG002
        self.batches.append(slices)

    async def next_call(self) -> Call:
        return await asyncio.wait_for(self.ended.get(), timeout=60)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


Serving = Callable[..., AbstractAsyncContextManager[grpc.aio.Channel]]


@pytest.fixture
def serving_channel(
    info: ServerInfo, make_segmenter: Callable[..., Segmenter], recorder: Recorder
) -> Serving:
    @asynccontextmanager
    async def serving(
        engine: Engine, *, interceptors: object = (), **options: object
    ) -> AsyncIterator[grpc.aio.Channel]:
        segmenter = make_segmenter(engine, observe=recorder.batch, **options)
        async with (
            running_server(
                segmenter, info, listen="127.0.0.1:0", interceptors=interceptors, observer=recorder
            ) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            yield channel

    return serving


@pytest.fixture
async def channel(serving_channel: Serving, engine: Engine) -> AsyncIterator[grpc.aio.Channel]:
    async with serving_channel(engine) as channel:
        yield channel


async def test_an_answered_call_is_told_with_its_bytes_and_stages(
    channel: grpc.aio.Channel, recorder: Recorder, dicom: bytes
) -> None:
    request = pb.SegmentRequest(dicom=dicom)
    answer = await SegmentationServiceStub(channel).Segment(request)
    call = await recorder.next_call()
    assert (call.method, call.code, call.reason, call.peer) == (SEGMENT, "OK", None, Peer.IPV4)
    assert (call.bytes_in, call.bytes_out, call.slices) == (request.ByteSize(), answer.ByteSize(), 1)
    assert call.timings.inference_ms == answer.timings.inference_ms
    assert call.seconds * 1e3 >= answer.timings.total_ms
    assert recorder.began == [SEGMENT]
    assert recorder.batches == [1]


async def test_a_refusal_is_told_with_its_reason(channel: grpc.aio.Channel, recorder: Recorder) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await SegmentationServiceStub(channel).Segment(pb.SegmentRequest(dicom=b"hello"))
    call = await recorder.next_call()
    assert (call.code, call.reason, call.slices, call.timings) == ("INVALID_ARGUMENT", "NOT_DICOM", 0, None)
    assert recorder.reasons == ["NOT_DICOM"]


async def test_a_failure_is_told_with_the_reference_that_the_caller_got(
    serving_channel: Serving, failing_engine: Callable[..., Engine], recorder: Recorder, dicom: bytes
) -> None:
    async with serving_channel(failing_engine(EngineError("broke"))) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SegmentationServiceStub(channel).Segment(pb.SegmentRequest(dicom=dicom))
        call = await recorder.next_call()
    assert (call.code, call.reason) == ("INTERNAL", "INTERNAL")
    assert call.reference
    assert call.reference in caught.value.details()


async def test_a_slice_that_is_one_too_many_is_told_as_overload(
    serving_channel: Serving, gated_engine: Engine, recorder: Recorder, dicom: bytes
) -> None:
    async with serving_channel(gated_engine, room=Room(slices=1)) as channel:
        stub = SegmentationServiceStub(channel)
        first = stub.Segment(pb.SegmentRequest(dicom=dicom))
        await asyncio.to_thread(gated_engine.entered.wait, 60)
        with pytest.raises(grpc.aio.AioRpcError):
            await stub.Segment(pb.SegmentRequest(dicom=dicom))
        refused = await recorder.next_call()
        gated_engine.gate.set()
        await first
        taken = await recorder.next_call()
    assert (refused.code, refused.reason) == ("RESOURCE_EXHAUSTED", "OVERLOAD")
    assert (taken.code, taken.reason) == ("OK", None)


@pytest.mark.parametrize(("timeout_s", "code"), [(None, "CANCELLED"), (0.3, "DEADLINE_EXCEEDED")])
async def test_a_caller_that_goes_away_is_told_from_one_whose_time_was_up(
    serving_channel: Serving,
    gated_engine: Engine,
    recorder: Recorder,
    dicom: bytes,
    timeout_s: float | None,
    code: str,
) -> None:
    async with serving_channel(gated_engine) as channel:
        request = SegmentationServiceStub(channel).Segment(pb.SegmentRequest(dicom=dicom), timeout=timeout_s)
        if timeout_s is None:
            await asyncio.to_thread(gated_engine.entered.wait, 60)
            request.cancel()
        call = await recorder.next_call()
        gated_engine.gate.set()
    assert call.code == code


async def test_a_message_above_the_limit_was_not_received(
    channel: grpc.aio.Channel, recorder: Recorder, info: ServerInfo
) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await SegmentationServiceStub(channel).Segment(
            pb.SegmentRequest(dicom=bytes(info.limits.max_message_bytes))
        )
    call = await recorder.next_call()
    assert (call.method, call.code, call.reason) == (SEGMENT, "UNKNOWN", NOT_RECEIVED)


async def test_a_method_that_does_not_exist_keeps_its_name_to_itself(
    channel: grpc.aio.Channel, recorder: Recorder
) -> None:
    made_up = channel.unary_unary(
        "/Doe^Jane/1970", empty_pb2.Empty.SerializeToString, empty_pb2.Empty.FromString
    )
    with pytest.raises(grpc.aio.AioRpcError):
        await made_up(empty_pb2.Empty())
    call = await recorder.next_call()
    assert (call.method, call.code) == (OTHER_METHOD, "UNIMPLEMENTED")
    assert recorder.began == [OTHER_METHOD]


@pytest.mark.parametrize(("method", "told"), [(SEGMENT, SEGMENT), ("Doe^Jane/1970", OTHER_METHOD)])
async def test_whoever_is_not_let_in_is_told_of_too(
    serving_channel: Serving,
    engine: Engine,
    recorder: Recorder,
    tmp_path: Path,
    put: Callable[[Path, bytes], None],
    method: str,
    told: str,
) -> None:
    put(tmp_path / "tokens", b"0123456789abcdef" * 2)
    guard = [TokenInterceptor(tmp_path / "tokens")]
    async with serving_channel(engine, interceptors=guard) as channel:
        with pytest.raises(grpc.aio.AioRpcError):
            await channel.unary_unary(f"/{method}")(b"")
        call = await recorder.next_call()
    assert (call.method, call.code, call.reason) == (told, "UNAUTHENTICATED", "TOKEN_MISSING")


async def test_a_stream_is_one_call_that_ends_with_its_caller(
    channel: grpc.aio.Channel, recorder: Recorder
) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    answer = await watch.read()
    watch.cancel()
    call = await recorder.next_call()
    assert (call.method, call.code) == ("grpc.health.v1.Health/Watch", "CANCELLED")
    assert call.bytes_out == answer.ByteSize()


async def test_calls_side_by_side_keep_their_figures_apart(
    channel: grpc.aio.Channel, recorder: Recorder, make_dicom: Callable[..., bytes]
) -> None:
    requests = [pb.SegmentRequest(dicom=make_dicom(np.full((8 * n, 16), 100))) for n in range(1, 9)]
    stub = SegmentationServiceStub(channel)
    await asyncio.gather(*map(stub.Segment, requests))
    calls = [await recorder.next_call() for _ in requests]
    assert {call.bytes_in for call in calls} == {request.ByteSize() for request in requests}
    assert [call.slices for call in calls] == [1] * 8


async def test_readiness_ends_with_the_server(
    serving_channel: Serving, engine: Engine, recorder: Recorder
) -> None:
    async with serving_channel(engine):
        assert recorder.readiness == [True]
    assert recorder.readiness == [True, False]


async def test_a_stream_is_one_call_with_each_of_its_slices_told_of(
    serving_channel: Serving, engine: Engine, recorder: Recorder, dicom: bytes
) -> None:
    async with serving_channel(engine) as channel:
        slices = [pb.SegmentRequest(dicom=content) for content in (dicom, b"hello", dicom)]
        messages = [
            pb.SegmentStreamRequest(id=str(number), slice=slice_) for number, slice_ in enumerate(slices)
        ]
        assert (
            len([answer async for answer in SegmentationServiceStub(channel).SegmentStream(iter(messages))])
            == 4
        )
        call = await recorder.next_call()
    assert (call.method, call.code, call.slices) == (f"{SEGMENT}Stream", "OK", 2)
    assert (len(recorder.timings), recorder.reasons) == (2, ["NOT_DICOM"])
