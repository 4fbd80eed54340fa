"""SegmentStream of the real server, called through its real stub."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc._cython import cygrpc  # what it raises when the server stops has no public name
from grpc_status import rpc_status
from numpy.typing import NDArray

from lvseg.errors import OverloadError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_serve.answers import ServerInfo
from lvseg_serve.rpc.stream import SliceStream
from lvseg_serve.segmenter import Room
from lvseg_serve.stages import SliceRequest


def message(id_: str, dicom: bytes, **options) -> pb.SegmentStreamRequest:
    return pb.SegmentStreamRequest(id=id_, slice=pb.SegmentRequest(dicom=dicom, **options))


async def answers(
    stub: SegmentationServiceStub, messages: Iterable[pb.SegmentStreamRequest]
) -> list[pb.SegmentStreamResponse]:
    """Return all that a stream answers."""
    return [answer async for answer in stub.SegmentStream(iter(messages))]


def reason(status: status_pb2.Status) -> str:
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return info.reason


async def test_each_slice_is_answered_under_its_id_and_a_summary_ends_the_stream(
    stub: SegmentationServiceStub, make_dicom: Callable[..., bytes]
) -> None:
    def rows(count: int) -> bytes:
        pixels = np.full((64, 72), 100)
        pixels[:count] = 1000
        return make_dicom(pixels)

    *results, last = await answers(stub, (message(str(count), rows(count)) for count in range(1, 13)))
    areas = {result.id: result.segmentation.area_mm2 for result in results}
    assert areas == {str(count): count * 72 * 2.25 for count in range(1, 13)}
    assert (last.id, last.summary) == ("", pb.SeriesSummary(answered=12, failed=0))


async def test_the_summary_says_whether_the_contours_lie_off_by_no_accident(
    stub: SegmentationServiceStub, dicom: bytes, contour: NDArray[np.float64]
) -> None:
    moved = pb.Contour(points=pb.Polygon(points=[pb.Point(x=x + 2, y=y) for x, y in contour]))
    *_, last = await answers(stub, (message(str(number), dicom, contour=moved) for number in range(5)))
    shift = last.summary.contour_shift
    assert (shift.slices, shift.systematic) == (5, True)
    assert (shift.mean.x_mm, shift.mean.y_mm) == pytest.approx((3.0, 0.0))


async def test_an_empty_stream_has_a_summary_alone(stub: SegmentationServiceStub) -> None:
    assert await answers(stub, []) == [pb.SegmentStreamResponse(summary=pb.SeriesSummary())]


async def test_a_bad_slice_has_the_error_of_the_unary_call_and_the_stream_goes_on(
    stub: SegmentationServiceStub, dicom: bytes, make_dicom: Callable[..., bytes]
) -> None:
    bad = make_dicom(np.zeros((8, 8)), spacing=None)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Segment(pb.SegmentRequest(dicom=bad))
    *results, last = await answers(stub, [message("bad", bad), message("good", dicom)])
    found = {result.id: result for result in results}
    assert found["bad"].error == rpc_status.from_call(caught.value)
    assert found["good"].segmentation.area_mm2 == 900.0
    assert last.summary == pb.SeriesSummary(answered=1, failed=1)


async def test_an_answer_that_is_ready_does_not_wait_for_an_earlier_slice(
    serving_channel, gated_engine, dicom: bytes
) -> None:
    async with serving_channel(gated_engine) as channel:
        stream = SegmentationServiceStub(channel).SegmentStream()
        await stream.write(message("first", dicom))
        await asyncio.to_thread(gated_engine.entered.wait, 60)
        await stream.write(message("second", b"hello"))
        assert (await stream.read()).id == "second"
        gated_engine.gate.set()
        assert (await stream.read()).id == "first"
        await stream.done_writing()
        assert (await stream.read()).HasField("summary")
        assert await stream.read() is grpc.aio.EOF


async def test_a_large_file_may_come_in_parts(
    stub: SegmentationServiceStub, make_dicom: Callable[..., bytes]
) -> None:
    dicom = make_dicom(np.full((700, 700), 1000))
    third = len(dicom) // 3
    request = pb.SegmentRequest(dicom=dicom[:third], outputs=[pb.OUTPUT_CONTOUR])
    result, last = await answers(
        stub,
        [
            pb.SegmentStreamRequest(id="a", slice=request, more=True),
            pb.SegmentStreamRequest(id="a", dicom_part=dicom[third : 2 * third], more=True),
            pb.SegmentStreamRequest(id="a", dicom_part=dicom[2 * third :]),
        ],
    )
    assert result.segmentation.area_mm2 == 700 * 700 * 2.25
    assert not result.segmentation.mask_png
    assert last.summary.answered == 1


async def test_a_file_that_the_end_of_the_stream_cuts_short_is_an_error(
    stub: SegmentationServiceStub, dicom: bytes
) -> None:
    cut = message("a", dicom)
    cut.more = True
    result, last = await answers(stub, [cut])
    assert (result.id, reason(result.error), last.summary.failed) == ("a", "INCOMPLETE_FILE", 1)


async def test_an_id_that_is_under_way_is_refused_and_its_first_slice_answered(
    serving_channel, gated_engine, dicom: bytes
) -> None:
    async with serving_channel(gated_engine) as channel:
        stream = SegmentationServiceStub(channel).SegmentStream()
        for _ in range(2):
            await stream.write(message("a", dicom))
        refused = await stream.read()
        assert (refused.id, reason(refused.error)) == ("a", "DUPLICATE_ID")
        gated_engine.gate.set()
        assert (await stream.read()).segmentation.area_mm2 == 900.0
        await stream.write(message("a", dicom))  # answered, and free again
        assert (await stream.read()).segmentation.area_mm2 == 900.0
        await stream.done_writing()


async def test_no_more_slices_are_taken_than_may_be_under_way(
    serving_channel, watched, gated_engine, dicom: bytes, info: ServerInfo
) -> None:
    segmenter = watched(gated_engine)
    async with serving_channel(segmenter) as channel:
        reading = asyncio.create_task(
            answers(SegmentationServiceStub(channel), [message(str(number), dicom) for number in range(12)])
        )
        await segmenter.until(inside=info.limits.max_stream_pending)
        gated_engine.gate.set()
        assert (await reading)[-1].summary.answered == 12
    assert segmenter.most == info.limits.max_stream_pending == 4


async def test_no_more_bytes_are_taken_than_one_file_may_have(
    serving_channel, watched, gated_engine, make_dicom: Callable[..., bytes], info: ServerInfo
) -> None:
    segmenter = watched(gated_engine)
    dicom = make_dicom(np.full((512, 512), 1000))
    assert len(dicom) > info.limits.max_message_bytes / 2  # so that two of them are too much
    async with serving_channel(segmenter) as channel:
        reading = asyncio.create_task(
            answers(SegmentationServiceStub(channel), [message(str(number), dicom) for number in range(5)])
        )
        await segmenter.until(inside=2)
        gated_engine.gate.set()
        assert (await reading)[-1].summary.answered == 5
    assert segmenter.most == 2


async def test_a_slice_waits_where_a_unary_call_would_be_refused(
    serving_channel, watched, gated_engine, dicom: bytes
) -> None:
    segmenter = watched(gated_engine, room=Room(slices=1))
    async with serving_channel(segmenter) as channel:
        reading = asyncio.create_task(
            answers(SegmentationServiceStub(channel), [message(str(number), dicom) for number in range(4)])
        )
        while segmenter.left < 3:  # three were turned away by the segmenter
            await asyncio.sleep(0)
        gated_engine.gate.set()
        assert (await reading)[-1].summary == pb.SeriesSummary(answered=4, failed=0)


async def test_files_that_wait_in_a_stream_count_and_all_streams_wait_for_room(
    serving_channel, watched, gated_engine, dicom: bytes
) -> None:
    segmenter = watched(gated_engine, room=Room(slices=1, file_bytes=2 * len(dicom)))
    async with serving_channel(segmenter) as channel:
        stub = SegmentationServiceStub(channel)
        first = asyncio.create_task(answers(stub, [message(str(number), dicom) for number in range(4)]))
        while segmenter.left < 2:  # one is at the engine, the other was turned away twice and waits
            await asyncio.sleep(0)
        second = asyncio.create_task(answers(stub, [message("another caller's", dicom)]))
        while segmenter.left < 4:
            await asyncio.sleep(0)
        assert segmenter.pending_bytes == 2 * len(dicom)
        with pytest.raises(OverloadError, match="1 slices are under way"):
            await segmenter.segment(SliceRequest(dicom=dicom))
        gated_engine.gate.set()
        assert [(await reading)[-1].summary.answered for reading in (first, second)] == [4, 1]
    assert segmenter.pending_bytes == 0


async def test_an_answer_that_is_not_read_holds_no_room_of_other_callers(
    serving_channel, watched, engine, make_dicom: Callable[..., bytes]
) -> None:
    dicom = make_dicom(np.full((512, 256), 1000))
    segmenter = watched(engine, room=Room(file_bytes=len(dicom)))
    async with serving_channel(segmenter) as channel:
        stub = SegmentationServiceStub(channel)
        silent = stub.SegmentStream()
        for id_ in "abcd":  # 512 KiB each: more than gRPC sends ahead
            await silent.write(message(id_, dicom, outputs=[pb.OUTPUT_PROBABILITY]))
        while segmenter.left < 4:
            await asyncio.sleep(0)
        assert segmenter.pending_bytes == 0
        silent.cancel()


async def test_a_failing_engine_is_the_error_of_each_slice(
    serving_channel, failing_engine, dicom: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving_channel(failing_engine(RuntimeError("Planted^Name"))) as channel:
        *results, last = await answers(
            SegmentationServiceStub(channel), [message("a", dicom), message("b", dicom)]
        )
    assert {reason(result.error) for result in results} == {"INTERNAL"}
    assert last.summary.failed == 2
    assert len(caplog.records) == 2
    assert "Planted" not in caplog.text


async def test_an_answer_that_fits_into_no_message_is_its_slices_error(
    stub: SegmentationServiceStub, dicom: bytes, make_dicom: Callable[..., bytes]
) -> None:
    large = message("large", make_dicom(np.full((600, 600), 100)), outputs=[pb.OUTPUT_PROBABILITY])
    *results, _ = await answers(stub, [large, message("small", dicom)])
    found = {result.id: result for result in results}
    assert reason(found["large"].error) == "TOO_LARGE"
    assert found["small"].HasField("segmentation")


async def test_a_caller_that_leaves_is_no_error_of_the_server(
    serving_channel, watched, gated_engine, dicom: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    segmenter = watched(gated_engine)
    async with serving_channel(segmenter) as channel:
        stream = SegmentationServiceStub(channel).SegmentStream()
        await stream.write(message("a", dicom))
        await asyncio.to_thread(gated_engine.entered.wait, 60)
        stream.cancel()
        await segmenter.until(inside=0)
        gated_engine.gate.set()
    assert not caplog.records


async def test_bytes_that_are_no_message_end_the_stream_with_an_invalid_argument(
    channel: grpc.aio.Channel,
) -> None:
    call = channel.stream_stream("/lvseg_api.v1.SegmentationService/SegmentStream")(iter([b"\xff\xff"]))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert reason(rpc_status.from_call(caught.value)) == "MALFORMED_MESSAGE"


@pytest.mark.parametrize("error", [grpc.aio.InternalError, cygrpc._ServerStoppedError])
async def test_a_caller_that_cannot_be_written_to_has_left(
    watched, engine, dicom: bytes, info: ServerInfo, error: type[Exception]
) -> None:
    async def write(_: pb.SegmentStreamResponse) -> None:
        raise error("the call has ended, or the time to stop")

    async def messages() -> AsyncIterator[pb.SegmentStreamRequest]:
        yield message("a", dicom)
        await asyncio.Event().wait()  # gRPC has not told of it yet

    segmenter = watched(engine)
    with pytest.raises(asyncio.CancelledError):
        await SliceStream(segmenter, info.limits, write).run(messages())
    await segmenter.close()
