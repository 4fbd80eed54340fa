"""What is counted in the bytes of a message before they are parsed."""

import pytest

from lvseg.errors import ContourError, InputError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.rpc.wire import parse_request, parse_stream_request

EMPTY_CORNERS = pb.SegmentRequest(
    contour=pb.Contour(points=pb.Polygon(points=[pb.Point()] * 500_000))  # 1 MB, and some 20 as a message
)


def test_a_message_is_what_it_was() -> None:
    message = pb.SegmentStreamRequest(id="1", slice=pb.SegmentRequest(dicom=b"file", frame=2))
    assert parse_stream_request(message.SerializeToString()) == message
    assert parse_request(message.slice.SerializeToString()) == message.slice


def test_a_slice_in_several_pieces_may_have_no_more_beside_its_file_than_in_one() -> None:
    # A parser merges them into one slice, with the corners of all.
    piece = pb.SegmentStreamRequest(slice=EMPTY_CORNERS).SerializeToString()
    assert len(parse_stream_request(2 * piece).slice.contour.points.points) == 1_000_000
    with pytest.raises(ContourError) as caught:
        parse_stream_request(3 * piece)
    assert caught.value.reason == "TOO_MANY_POINTS"


def test_an_id_of_any_length_counts_with_the_rest() -> None:
    piece = pb.SegmentStreamRequest(slice=EMPTY_CORNERS).SerializeToString()
    long = pb.SegmentStreamRequest(id="x" * 1_200_000).SerializeToString()
    with pytest.raises(InputError) as caught:
        parse_stream_request(piece + long)
    assert caught.value.reason == "MALFORMED_MESSAGE"
