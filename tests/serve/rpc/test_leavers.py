"""A request whose caller no longer waits for it never reaches the engine."""

import asyncio

import grpc
import pytest

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub


async def test_a_request_whose_deadline_passes_while_it_waits_never_reaches_the_engine(
    serving_channel, watched, gated_engine, dicom: bytes
) -> None:
    segmenter = watched(gated_engine)
    async with serving_channel(segmenter) as channel:
        stub = SegmentationServiceStub(channel)
        first = stub.Segment(pb.SegmentRequest(dicom=dicom))
        await asyncio.to_thread(gated_engine.entered.wait, 60)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Segment(pb.SegmentRequest(dicom=dicom), timeout=0.5)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await segmenter.until(inside=1)
        gated_engine.gate.set()
        assert (await first).area_mm2 == 900.0
    assert len(gated_engine.shapes) == 1


async def test_a_request_whose_caller_leaves_while_it_waits_never_reaches_the_engine(
    serving_channel, watched, gated_engine, dicom: bytes
) -> None:
    segmenter = watched(gated_engine)
    async with serving_channel(segmenter) as channel:
        stub = SegmentationServiceStub(channel)
        first = stub.Segment(pb.SegmentRequest(dicom=dicom))
        await asyncio.to_thread(gated_engine.entered.wait, 60)
        second = stub.Segment(pb.SegmentRequest(dicom=dicom))
        await segmenter.until(inside=2)
        second.cancel()
        await segmenter.until(inside=1)
        gated_engine.gate.set()
        assert (await first).area_mm2 == 900.0
    assert len(gated_engine.shapes) == 1


async def test_when_a_stream_is_cancelled_none_of_its_slices_reaches_the_engine(
    serving_channel, watched, gated_engine, dicom: bytes
) -> None:
    segmenter = watched(gated_engine)
    async with serving_channel(segmenter) as channel:
        stub = SegmentationServiceStub(channel)
        first = stub.Segment(pb.SegmentRequest(dicom=dicom))
        await asyncio.to_thread(gated_engine.entered.wait, 60)
        stream = stub.SegmentStream()
        for id_ in "abc":
            await stream.write(pb.SegmentStreamRequest(id=id_, slice=pb.SegmentRequest(dicom=dicom)))
        await segmenter.until(inside=4)
        stream.cancel()
        await segmenter.until(inside=1)
        gated_engine.gate.set()
        assert (await first).area_mm2 == 900.0
    assert len(gated_engine.shapes) == 1
