"""The service's methods: convert, call, convert back."""

import asyncio

import grpc

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1 import segmentation_pb2_grpc
from lvseg_serve.answers import ServerInfo
from lvseg_serve.rpc.calls import note_slice
from lvseg_serve.rpc.converters import to_request, to_segment_response, to_server_info_response
from lvseg_serve.rpc.status import errors_as_status
from lvseg_serve.segmenter import Segmenter


class SegmentationServicer(segmentation_pb2_grpc.SegmentationServiceServicer):
    """``lvseg_api.v1.SegmentationService`` on top of a segmenter."""

    def __init__(self, segmenter: Segmenter, info: ServerInfo) -> None:
        self._segmenter = segmenter
        self._info = info

    async def Segment(  # noqa: N802
        self,
        request: pb.SegmentRequest,
        context: grpc.aio.ServicerContext[pb.SegmentRequest, pb.SegmentResponse],
    ) -> pb.SegmentResponse:
        """Segment one slice."""
        async with errors_as_status(context):
            answer = await self._segmenter.segment(to_request(request))
            note_slice(answer.timings)
            return await asyncio.to_thread(to_segment_response, answer)

    async def GetServerInfo(  # noqa: N802
        self,
        request: pb.GetServerInfoRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[pb.GetServerInfoRequest, pb.GetServerInfoResponse],
    ) -> pb.GetServerInfoResponse:
        """Say what runs here."""
        async with errors_as_status(context):
            return to_server_info_response(self._info)
