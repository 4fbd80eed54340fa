"""From messages to whole slices."""

import pytest

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.rpc.uploads import Refused, Uploads, Whole


def begin(id_: str, content: bytes = b"0", *, more: bool = False) -> pb.SegmentStreamRequest:
    return pb.SegmentStreamRequest(id=id_, slice=pb.SegmentRequest(dicom=content, frame=2), more=more)


def part(id_: str, content: bytes, *, more: bool = False) -> pb.SegmentStreamRequest:
    return pb.SegmentStreamRequest(id=id_, dicom_part=content, more=more)


def outcomes(*messages: pb.SegmentStreamRequest, under_way: str = "") -> list[tuple[str, str]]:
    """Return each id with its bytes, or with the reason why it was refused, of files of at most 8 bytes."""
    uploads = Uploads(max_bytes=8, under_way=under_way)
    arrived = [result for message in messages for result in uploads.take(message)]
    return [
        (result.id, result.request.dicom.decode() if isinstance(result, Whole) else result.error.reason)
        for result in (*arrived, *uploads.end())
    ]


def test_a_small_file_is_whole_at_once() -> None:
    assert outcomes(begin("a", b"012"), begin("b", b"345")) == [("a", "012"), ("b", "345")]


def test_parts_are_joined_in_their_order() -> None:
    assert outcomes(begin("a", b"01", more=True), part("a", b"23", more=True), part("a", b"45")) == [
        ("a", "012345")
    ]


def test_what_came_with_the_beginning_is_kept() -> None:
    uploads = Uploads(max_bytes=8, under_way=())
    assert list(uploads.take(begin("a", b"01", more=True))) == []
    (whole,) = uploads.take(part("a", b"23"))
    assert isinstance(whole, Whole)
    assert (whole.request.frame, whole.request.dicom) == (2, b"0123")


def test_a_last_part_may_be_empty() -> None:
    assert outcomes(begin("a", b"01", more=True), part("a", b"")) == [("a", "01")]


@pytest.mark.parametrize(
    "messages",
    [
        [begin("a", b"012345678")],
        [begin("a", b"012345678", more=True), part("a", b"9", more=True), part("a", b"9")],
        [
            begin("a", b"0123", more=True),
            part("a", b"45678", more=True),
            part("a", b"9", more=True),
            part("a", b""),
        ],
    ],
    ids=["at once", "in its beginning", "in a part"],
)
def test_a_file_that_is_too_large_has_one_answer_and_the_next_goes_on(
    messages: list[pb.SegmentStreamRequest],
) -> None:
    assert outcomes(*messages, begin("b", b"1")) == [("a", "TOO_LARGE"), ("b", "1")]


def test_a_file_of_the_largest_size_is_taken() -> None:
    assert outcomes(begin("a", b"0123", more=True), part("a", b"4567")) == [("a", "01234567")]


def test_another_slice_ends_an_unfinished_file() -> None:
    assert outcomes(begin("a", more=True), begin("b", b"1"), part("a", b"2")) == [
        ("a", "INCOMPLETE_FILE"),
        ("b", "1"),
        ("a", "NO_BEGINNING"),
    ]


def test_a_second_beginning_ends_an_unfinished_file() -> None:
    assert outcomes(begin("a", b"1", more=True), begin("a", b"2")) == [("a", "INCOMPLETE_FILE"), ("a", "2")]


def test_the_end_of_the_stream_ends_an_unfinished_file() -> None:
    assert outcomes(begin("a", more=True)) == [("a", "INCOMPLETE_FILE")]


def test_parts_without_a_beginning_have_one_answer() -> None:
    assert outcomes(
        part("a", b"1", more=True), part("a", b"2", more=True), part("a", b"3"), begin("a", b"4")
    ) == [
        ("a", "NO_BEGINNING"),
        ("a", "4"),
    ]


def test_an_id_that_is_under_way_is_refused_with_all_its_parts() -> None:
    assert outcomes(begin("a", more=True), part("a", b"2"), begin("b", b"3"), under_way="a") == [
        ("a", "DUPLICATE_ID"),
        ("b", "3"),
    ]


def test_a_message_without_content_is_refused() -> None:
    assert outcomes(pb.SegmentStreamRequest(id="a")) == [("a", "NO_CONTENT")]


@pytest.mark.parametrize(("id_", "reason"), [("", "BAD_ID"), ("x" * 129, "BAD_ID"), ("x" * 128, "0")])
def test_an_id_has_1_to_128_characters(id_: str, reason: str) -> None:
    assert outcomes(begin(id_)) == [(id_[:128], reason)]


def test_a_file_of_a_bad_id_has_one_answer() -> None:
    long = "x" * 129
    assert outcomes(begin(long, more=True), part(long, b"1")) == [(long[:128], "BAD_ID")]


def test_bytes_of_a_refused_file_are_not_kept() -> None:
    uploads = Uploads(max_bytes=8, under_way=())
    assert list(uploads.take(begin("a", b"01234567", more=True))) == []
    (refused,) = uploads.take(part("a", b"8", more=True))
    assert isinstance(refused, Refused)
    for _ in range(3):
        assert list(uploads.take(part("a", b"01234567", more=True))) == []
    assert list(uploads.end()) == []
