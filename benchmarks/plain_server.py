"""The server that lvseg-serve has to beat: grpcio's thread pool around one ONNX Runtime session, and nothing else.

MODEL=model.int8.onnx WORKING_SPACING_MM=1.0 PORT=50052 WORKERS=2 python benchmarks/plain_server.py

It speaks lvseg's protocol. It has neither limits nor health checks, no errors with reasons and no timings.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import grpc
from peers.slice_work import SliceWork

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1 import segmentation_pb2_grpc

MAX_MESSAGE_BYTES = 32 * 2**20


class PlainServicer(segmentation_pb2_grpc.SegmentationServiceServicer):
    """Segments a slice in the thread that gRPC calls it in."""

    def __init__(self) -> None:
        self._work = SliceWork.from_environment()

    def Segment(self, request: pb.SegmentRequest, context: grpc.ServicerContext) -> pb.SegmentResponse:  # noqa: ARG002, N802
        """Segment one slice."""
        answer = self._work(request.dicom)
        between_rows, between_columns = answer.pixel_spacing
        return pb.SegmentResponse(
            rows=answer.rows,
            columns=answer.columns,
            frame=1,
            pixel_spacing=pb.PixelSpacing(between_rows_mm=between_rows, between_columns_mm=between_columns),
            mask_png=answer.mask_png,
            contour=pb.Polygon(points=[pb.Point(x=x, y=y) for x, y in answer.contour.tolist()]),
            area_mm2=answer.area_mm2,
        )


def main() -> None:
    """Serve until the process is ended."""
    server = grpc.server(
        ThreadPoolExecutor(int(os.environ["WORKERS"])),
        options=[("grpc.max_receive_message_length", MAX_MESSAGE_BYTES)],
    )
    segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(PlainServicer(), server)
    server.add_insecure_port(f"127.0.0.1:{os.environ['PORT']}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
