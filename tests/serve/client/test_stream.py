"""Streams of both clients against a real server."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import grpc
import numpy as np
import pytest

from lvseg.errors import InputError, ServerError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1 import segmentation_pb2_grpc
from lvseg_serve.answers import ServerInfo
from lvseg_serve.client import (
    AsyncClient,
    Client,
    Output,
    SeriesSlice,
    SeriesSummary,
)
from tests.serve.client.conftest import Results, Stream

Serving = Callable[..., AbstractContextManager[str]]


def slices(dicom: bytes, count: int) -> Iterator[SeriesSlice]:
    return (SeriesSlice(id=str(number), dicom=dicom) for number in range(count))


def test_each_slice_has_its_own_answer_and_the_stream_a_summary(
    stream: Stream, server: str, make_dicom: Callable[..., bytes]
) -> None:
    def rows(count: int) -> bytes:
        pixels = np.full((64, 72), 100)
        pixels[:count] = 1000
        return make_dicom(pixels)

    results, summary = stream(
        server, (SeriesSlice(id=str(count), dicom=rows(count)) for count in range(1, 41))
    )
    assert {id_: answer.area_mm2 for id_, answer in results} == {
        str(count): count * 72 * 2.25 for count in range(1, 41)
    }
    assert summary == SeriesSummary(answered=40, failed=0)


def test_the_summary_tells_that_the_contours_all_lie_off_in_one_direction(
    stream: Stream, server: str, dicom: bytes, contour: np.ndarray
) -> None:
    # Pixels of 1.5 mm. The mean is (3.0, -1.5); along x the squares sum to 2 * 2.25, over 5 * 4, and its root is 0.474.
    moves = [(1, -1), (2, -1), (2, -1), (2, -1), (3, -1)]
    moved = (
        SeriesSlice(id=str(number), dicom=dicom, contour=contour + move) for number, move in enumerate(moves)
    )
    _, summary = stream(server, [*moved, SeriesSlice(id="without a contour", dicom=dicom)])
    shift = summary.contour_shift
    assert (shift.slices, shift.systematic) == (5, True)
    assert shift.mean_mm == pytest.approx((3.0, -1.5))
    assert shift.standard_error_mm == pytest.approx((0.474, 0.0), abs=5e-4)


def test_a_series_without_slices_has_no_answers(stream: Stream, server: str) -> None:
    assert stream(server, []) == ([], SeriesSummary(answered=0, failed=0))


def test_what_comes_with_a_slice_reaches_the_server(
    stream: Stream, server: str, make_dicom: Callable[..., bytes], ventricle: np.ndarray
) -> None:
    frames = make_dicom(np.stack([np.full((64, 72), 100), np.where(ventricle, 1000, 100)]), spacing=None)
    slice_ = SeriesSlice(id="a", dicom=frames, frame=2, pixel_spacing=(1.5, 1.5), contour=ventricle)
    ((_, answer),), _ = stream(server, [slice_], outputs=[Output.MASK_RUNS])
    assert (answer.frame, answer.agreement.dice, answer.contour) == (2, 1.0, None)
    np.testing.assert_array_equal(answer.mask, ventricle)


def test_a_slice_that_is_refused_has_its_error_and_the_others_their_answers(
    stream: Stream, server: str, dicom: bytes, make_dicom: Callable[..., bytes]
) -> None:
    bad = SeriesSlice(id="bad", dicom=make_dicom(np.zeros((8, 8)), spacing=None))
    results, summary = stream(server, [bad, *slices(dicom, 3)])
    found = dict(results)
    error = found.pop("bad")
    assert isinstance(error, InputError)
    assert (error.field, error.exit_code) == ("PixelSpacing", 2)
    assert [answer.area_mm2 for answer in found.values()] == [900.0] * 3
    assert summary == SeriesSummary(answered=3, failed=1)


def test_a_file_of_more_than_one_message_arrives_whole(
    stream: Stream, server: str, make_dicom: Callable[..., bytes]
) -> None:
    large = make_dicom(np.full((700, 700), 1000))
    assert len(large) > 2**19
    ((_, answer),), _ = stream(server, [SeriesSlice(id="a", dicom=large)], outputs=[Output.CONTOUR])
    assert answer.area_mm2 == 700 * 700 * 2.25


def test_a_file_above_the_servers_limit_is_its_slices_error(
    stream: Stream, server: str, dicom: bytes, info: ServerInfo
) -> None:
    large = SeriesSlice(id="large", dicom=bytes(info.limits.max_message_bytes + 1))
    results, _ = stream(server, [large, *slices(dicom, 2)])
    found = dict(results)
    assert isinstance(found["large"], InputError)
    assert found["large"].reason == "TOO_LARGE"
    assert found["0"].area_mm2 == found["1"].area_mm2 == 900.0


def test_a_file_above_the_clients_limit_is_not_sent(stream: Stream, server: str, dicom: bytes) -> None:
    large = SeriesSlice(id="large", dicom=bytes(2**20 + 1))
    results, summary = stream(server, [large, *slices(dicom, 2)], options={"max_message_mib": 1})
    found = dict(results)
    assert isinstance(found["large"], InputError)
    assert "--max-message-mib" in str(found["large"])
    assert summary == SeriesSummary(answered=2, failed=1)


def test_no_more_slices_are_taken_than_the_window_has_room_for(
    stream: Stream, server: str, dicom: bytes
) -> None:
    results: Results = []
    ahead: list[int] = []

    def watched() -> Iterator[SeriesSlice]:
        for number, slice_ in enumerate(slices(dicom, 30), start=1):
            ahead.append(number - len(results))
            yield slice_

    stream(server, watched(), results=results, window=3)
    assert len(results) == 30
    assert max(ahead) <= 3 + 1  # one answer may be on its way into the list


def test_what_the_slices_raise_comes_after_the_answers_to_those_before(
    stream: Stream, server: str, dicom: bytes
) -> None:
    def broken() -> Iterator[SeriesSlice]:
        yield from slices(dicom, 3)
        raise OSError("the scanner is gone")

    results: Results = []
    with pytest.raises(OSError, match="the scanner is gone"):
        stream(server, broken(), results=results)
    assert sorted(id_ for id_, _ in results) == ["0", "1", "2"]


@pytest.mark.parametrize(
    "bad",
    [{"id": ""}, {"id": "x" * 129}, {"id": "0"}, {"id": "a", "frame": 0}],
    ids=["no id", "a long id", "an id under way", "no frame"],
)
def test_a_slice_that_makes_no_message_is_a_value_error(
    stream: Stream, serving: Serving, gated_engine, dicom: bytes, bad: dict[str, Any]
) -> None:
    def wrong() -> Iterator[SeriesSlice]:
        yield SeriesSlice(id="0", dicom=dicom)
        threading.Timer(0.2, gated_engine.gate.set).start()  # the first is under way until then
        yield SeriesSlice(**{"dicom": dicom, **bad})

    with serving(gated_engine) as address, pytest.raises(ValueError):
        stream(address, wrong())


def test_a_window_without_room_is_a_value_error(stream: Stream, server: str) -> None:
    with pytest.raises(ValueError, match="window must be at least 1"):
        stream(server, [], window=0)


def test_no_server_is_a_server_error(stream: Stream, dicom: bytes) -> None:
    with pytest.raises(ServerError, match="no server at") as caught:
        stream("127.0.0.1:1", slices(dicom, 3), options={"connect_s": 0.0})
    assert caught.value.code == "UNAVAILABLE"


def test_a_server_that_says_nothing_is_given_up(
    stream: Stream, serving: Serving, gated_engine, dicom: bytes
) -> None:
    with serving(gated_engine) as address:
        with pytest.raises(ServerError, match=r"no answer within 0\.5 s") as caught:
            stream(address, slices(dicom, 3), options={"timeout_s": 0.5})
        gated_engine.gate.set()
    assert caught.value.code == "DEADLINE_EXCEEDED"


def test_slices_may_take_their_time(server: str, dicom: bytes) -> None:
    def slow() -> Iterator[SeriesSlice]:
        time.sleep(1.2)  # longer than the time-out
        yield from slices(dicom, 1)

    with Client(server, timeout_s=1.0) as client:
        assert len(list(client.segment_stream(slow()))) == 1


def hesitant(dicom: bytes, answered: threading.Event) -> Iterator[SeriesSlice]:
    """Give a slice, and the next when the first is answered."""
    first, second = slices(dicom, 2)
    yield first
    assert answered.wait(timeout=60)
    yield second


def test_an_answer_comes_while_the_next_slice_is_awaited(server: str, dicom: bytes) -> None:
    answered = threading.Event()
    with Client(server) as client:
        for _ in client.segment_stream(hesitant(dicom, answered)):
            answered.set()


def test_a_stream_that_is_left_early_takes_no_more_slices(server: str, dicom: bytes) -> None:
    taken: list[str] = []

    def watched() -> Iterator[SeriesSlice]:
        for slice_ in slices(dicom, 1000):
            taken.append(slice_.id)
            yield slice_

    with Client(server) as client:
        with client.segment_stream(watched(), window=2) as answers:
            next(answers)
        assert list(answers) == []
        assert answers.summary is None
    assert len(taken) <= 4


def test_a_slice_that_was_lost_with_its_worker_is_sent_again(
    stream: Stream, serving: Serving, losing_engine, dicom: bytes
) -> None:
    losing_engine.losses = 2
    with serving(losing_engine) as address:
        results, summary = stream(address, slices(dicom, 3))
    assert {id_: answer.area_mm2 for id_, answer in results} == {"0": 900.0, "1": 900.0, "2": 900.0}
    assert summary == SeriesSummary(answered=3, failed=0)


def test_a_file_of_more_than_one_message_is_sent_again_whole(
    stream: Stream, serving: Serving, losing_engine, make_dicom: Callable[..., bytes]
) -> None:
    large = make_dicom(np.full((700, 700), 1000))
    losing_engine.losses = 1
    with serving(losing_engine) as address:
        ((_, answer),), _ = stream(address, [SeriesSlice(id="a", dicom=large)], outputs=[Output.CONTOUR])
    assert answer.area_mm2 == 700 * 700 * 2.25


def test_a_slice_that_is_lost_each_time_is_given_up_and_the_others_go_on(
    stream: Stream, serving: Serving, losing_engine, dicom: bytes, make_dicom: Callable[..., bytes]
) -> None:
    losing_engine.losses, losing_engine.rows = 1000, 32
    deadly = SeriesSlice(id="deadly", dicom=make_dicom(np.full((32, 32), 100)))
    with serving(losing_engine) as address:
        results, summary = stream(address, [deadly, *slices(dicom, 3)])
    found = dict(results)
    error = found.pop("deadly")
    assert isinstance(error, ServerError)
    assert (error.code, error.reason) == ("UNAVAILABLE", "WORKER_LOST")
    assert losing_engine.lost == 5
    assert [answer.area_mm2 for answer in found.values()] == [900.0] * 3
    assert summary == SeriesSummary(answered=3, failed=1)


def test_a_client_that_does_not_retry_has_the_error_of_a_slice_that_was_lost(
    stream: Stream, serving: Serving, losing_engine, dicom: bytes
) -> None:
    losing_engine.losses = 1
    with serving(losing_engine) as address:
        ((_, error),), _ = stream(address, slices(dicom, 1), options={"retry": False})
    assert error.reason == "WORKER_LOST"


def test_a_lost_slice_is_sent_again_while_the_next_is_awaited(
    serving: Serving, losing_engine, dicom: bytes
) -> None:
    answered = threading.Event()
    losing_engine.losses = 1
    with serving(losing_engine) as address, Client(address) as client:
        for _, answer in client.segment_stream(hesitant(dicom, answered)):
            assert answer.area_mm2 == 900.0
            answered.set()


async def test_so_it_is_over_asyncio(serving: Serving, losing_engine, dicom: bytes) -> None:
    answered = asyncio.Event()

    async def hesitant() -> AsyncIterator[SeriesSlice]:
        first, second = slices(dicom, 2)
        yield first
        async with asyncio.timeout(60):
            await answered.wait()
        yield second

    losing_engine.losses = 1
    with serving(losing_engine) as address:
        async with AsyncClient(address) as client:
            async for _, answer in client.segment_stream(hesitant()):
                assert answer.area_mm2 == 900.0
                answered.set()


class _Leaving(segmentation_pb2_grpc.SegmentationServiceServicer):
    """Takes all slices, answers the first and ends the stream, as no server of ours does."""

    def SegmentStream(self, request_iterator, context):  # noqa: ARG002, N802
        first, *_ = request_iterator
        yield pb.SegmentStreamResponse(id=first.id, segmentation=pb.SegmentResponse(rows=1, columns=1))


def test_a_stream_that_ends_before_its_time_is_a_server_error(stream: Stream) -> None:
    with ThreadPoolExecutor(1) as pool:
        other = grpc.server(pool)
        segmentation_pb2_grpc.add_SegmentationServiceServicer_to_server(_Leaving(), other)
        port = other.add_insecure_port("127.0.0.1:0")
        other.start()
        results: Results = []
        try:
            with pytest.raises(ServerError, match="ended the stream with 2 slices unanswered"):
                stream(f"127.0.0.1:{port}", slices(b"0", 3), results=results, outputs=[Output.CONTOUR])
        finally:
            other.stop(None).wait()
    assert [id_ for id_, _ in results] == ["0"]
