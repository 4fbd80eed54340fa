"""The service's methods: convert, call, convert back."""

from collections.abc import AsyncIterator

import grpc

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1 import segmentation_pb2_grpc
from lvseg_serve.rpc.calls import note_slice
from lvseg_serve.rpc.converters import segment_response, to_request, to_server_info_response
from lvseg_serve.rpc.status import errors_as_status
from lvseg_serve.rpc.stream import SliceStream
from lvseg_serve.rpc.wire import Unread, parse_request, parse_stream_request
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.state import ServerState


class SegmentationServicer(segmentation_pb2_grpc.SegmentationServiceServicer):
    """``lvseg_api.v1.SegmentationService`` on top of a segmenter."""

    def __init__(self, segmenter: Segmenter, state: ServerState) -> None:
        self._segmenter = segmenter
        self._state = state

    async def Segment(  # type: ignore[override]  # noqa: N802
        self,
        request: Unread,
        context: grpc.aio.ServicerContext[Unread, pb.SegmentResponse],
    ) -> pb.SegmentResponse:
        """Segment one slice; the request comes as it was sent, to be judged before it is parsed."""
        async with errors_as_status(context):
            return await self._segment(request.take())

    async def _segment(self, data: bytes) -> pb.SegmentResponse:
        wanted = to_request(parse_request(data))
        answer = await self._segmenter.segment(wanted)
        note_slice(answer.timings)
        return await segment_response(
            answer, wanted.outputs, max_message_bytes=self._state.info.limits.max_message_bytes
        )

    async def SegmentStream(  # type: ignore[override]  # noqa: N802  it writes, where the stub expects a generator
        self,
        request_iterator: AsyncIterator[bytes],
        context: grpc.aio.ServicerContext[bytes, pb.SegmentStreamResponse],
    ) -> None:
        """Segment the slices of a series as they arrive; a message that cannot be one ends the stream."""
        async with errors_as_status(context):
            messages = (parse_stream_request(data) async for data in request_iterator)
            stream = SliceStream(self._segmenter, self._state.info.limits, context.write)
            await stream.run(self._state.draining.until(messages))

    async def GetServerInfo(  # noqa: N802
        self,
        request: pb.GetServerInfoRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[pb.GetServerInfoRequest, pb.GetServerInfoResponse],
    ) -> pb.GetServerInfoResponse:
        """Say what runs here."""
        async with errors_as_status(context):
            return to_server_info_response(self._state.info)


def add_to_server(servicer: SegmentationServicer, server: grpc.aio.Server) -> None:
    """Register the service. Not by the generated function: what it parses is in memory before anyone has judged it."""
    name = pb.DESCRIPTOR.services_by_name["SegmentationService"].full_name
    handlers = {
        "Segment": grpc.unary_unary_rpc_method_handler(
            servicer.Segment,
            request_deserializer=Unread,
            response_serializer=pb.SegmentResponse.SerializeToString,
        ),
        "SegmentStream": grpc.stream_stream_rpc_method_handler(
            servicer.SegmentStream, response_serializer=pb.SegmentStreamResponse.SerializeToString
        ),
        "GetServerInfo": grpc.unary_unary_rpc_method_handler(
            servicer.GetServerInfo,
            request_deserializer=pb.GetServerInfoRequest.FromString,
            response_serializer=pb.GetServerInfoResponse.SerializeToString,
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
