"""Both clients while their server, or its connection, is not there: not yet, not any more, or never."""

import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any

import grpc
import pytest

from lvseg.errors import ServerError
from lvseg_serve.answers import DEFAULT_OUTPUTS
from lvseg_serve.client import Client, SeriesSlice, SeriesSummary
from lvseg_serve.client.conversation import Conversation, FurtherCall
from lvseg_serve.client.patience import Acquaintance
from lvseg_serve.rpc.connections import ConnectionLimits
from tests.serve.client.conftest import Ask, Stream
from tests.serve.soak.http2 import hang_up

Serving = Callable[..., AbstractContextManager[str]]
AT_ONCE = {"grace_s": 0.0}


def test_a_server_that_is_not_there_yet_is_waited_for(ask: Ask, late: str, dicom: bytes) -> None:
    assert ask("segment", late, dicom, options={"connect_s": 30}).area_mm2 == 900.0


def test_a_stream_waits_for_it_too(stream: Stream, late: str, dicom: bytes) -> None:
    series = [SeriesSlice(id=str(number), dicom=dicom) for number in range(3)]
    results, summary = stream(late, series, options={"connect_s": 30})
    assert {id_: answer.area_mm2 for id_, answer in results} == {"0": 900.0, "1": 900.0, "2": 900.0}
    assert summary == SeriesSummary(answered=3, failed=0)


@pytest.mark.parametrize("of_the_clients", [True, False], ids=["limit", "time-out"])
def test_one_that_never_comes_is_an_error_in_time_that_says_so(
    ask: Ask, nowhere: str, dicom: bytes, of_the_clients: bool
) -> None:
    options = {"connect_s": 1.0} if of_the_clients else {"connect_s": 60.0, "timeout_s": 1.0}
    began = time.monotonic()
    with pytest.raises(ServerError, match=rf"no server at {nowhere} answers.*lvseg-serve") as absent:
        ask("segment", nowhere, dicom, options=options)
    assert 0.5 < time.monotonic() - began < 5
    assert (absent.value.code, absent.value.reason) == ("UNAVAILABLE", "NO_SERVER")


def test_so_it_is_for_a_stream(stream: Stream, nowhere: str, dicom: bytes) -> None:
    began = time.monotonic()
    with pytest.raises(ServerError, match=f"no server at {nowhere} answers"):
        stream(nowhere, [SeriesSlice(id="0", dicom=dicom)], options={"connect_s": 1.0})
    assert 0.5 < time.monotonic() - began < 5


@pytest.mark.parametrize("options", [{"connect_s": 0.0}, {"retry": False}], ids=["no time", "no retry"])
def test_who_does_not_want_to_wait_has_the_error_at_once(
    ask: Ask, nowhere: str, options: dict[str, Any]
) -> None:
    began = time.monotonic()
    with pytest.raises(ServerError, match="no server"):
        ask("server_info", nowhere, options=options)
    assert time.monotonic() - began < 1


def test_a_server_that_was_there_is_waited_for_as_long_as_a_call_may_take(
    serving: Serving, engine: Any, dicom: bytes
) -> None:
    with ExitStack() as former:
        address = former.enter_context(serving(engine, guarded=AT_ONCE))
        with Client(address, connect_s=0.0) as client:
            client.server_info()
            former.close()
            again = ExitStack()
            timer = threading.Timer(1, again.enter_context, [serving(engine, listen=address)])
            timer.start()
            try:
                assert client.segment(dicom).area_mm2 == 900.0
            finally:
                timer.join()
                again.close()


def test_a_connection_that_is_closed_at_once_is_no_fault_of_tls_where_the_server_was_met(
    serving: Serving, engine: Any, dicom: bytes
) -> None:
    """A server that is killed just then closes it so; where none was met, test_security.py has what is said at once."""
    over = threading.Event()

    def start_anew() -> None:
        with socket.create_server(("127.0.0.1", int(address.rpartition(":")[2]))) as dying:
            for _ in range(2):
                connection, _ = dying.accept()
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()  # with a reset
        with serving(engine, listen=address):
            over.wait()

    with ExitStack() as former:
        address = former.enter_context(serving(engine, guarded=AT_ONCE))
        with Client(address) as client:
            client.server_info()
            former.close()
            starting = threading.Thread(target=start_anew)
            starting.start()
            try:
                assert client.segment(dicom).area_mm2 == 900.0
            finally:
                over.set()
                starting.join()


def test_a_stream_goes_on_with_a_server_that_was_started_anew(
    stream: Stream, serving: Serving, engine: Any, dicom: bytes
) -> None:
    with ExitStack() as servers:
        address = servers.enter_context(serving(engine, guarded=AT_ONCE))

        def series() -> Iterator[SeriesSlice]:
            for number in range(20):
                if number == 10:
                    servers.close()
                    servers.enter_context(serving(engine, listen=address))
                yield SeriesSlice(id=str(number), dicom=dicom)

        results, summary = stream(address, series(), options={"connect_s": 0.0}, window=4)
    assert sorted(int(id_) for id_, _ in results) == [*range(20)]
    assert {answer.area_mm2 for _, answer in results} == {900.0}
    assert summary == SeriesSummary(answered=20, failed=0)


def test_a_server_that_goes_while_a_slice_is_sent_is_not_there(stream: Stream) -> None:
    series = [SeriesSlice(id=str(number), dicom=bytes(100_000)) for number in range(16)]
    with socket.create_server(("127.0.0.1", 0)) as listener:
        leaving = threading.Thread(target=lambda: hang_up(listener.accept()[0]))
        leaving.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ServerError, match=f"no server at {address}") as gone:
            stream(address, series, options={"connect_s": 0.0})
        leaving.join()
    assert (gone.value.code, gone.value.reason) == ("UNAVAILABLE", "NO_SERVER")


def test_a_stream_outlives_its_connection(
    stream: Stream, serving: Serving, engine: Any, dicom: bytes
) -> None:
    def series() -> Iterator[SeriesSlice]:
        for number in range(40):
            yield SeriesSlice(id=str(number), dicom=dicom)
            time.sleep(0.05)

    short = {"connections": ConnectionLimits(age_s=0.3, age_grace_s=0.1)}
    with serving(engine, guarded=short) as address:
        results, summary = stream(address, series())
    assert {answer.area_mm2 for _, answer in results} == {900.0}
    assert summary == SeriesSummary(answered=40, failed=0)


def test_a_stream_without_a_slice_under_way_outlasts_any_absence(
    serving: Serving, engine: Any, dicom: bytes
) -> None:
    answered = threading.Event()
    with ExitStack() as servers:
        address = servers.enter_context(serving(engine, guarded=AT_ONCE))

        def series() -> Iterator[SeriesSlice]:
            yield SeriesSlice(id="before", dicom=dicom)
            assert answered.wait(60)
            servers.close()
            time.sleep(2.5)  # longer than the time-out
            servers.enter_context(serving(engine, listen=address))
            yield SeriesSlice(id="after", dicom=dicom)

        ids = []
        with Client(address, timeout_s=2.0) as client:
            for id_, _ in client.segment_stream(series()):
                ids.append(id_)
                answered.set()
    assert ids == ["before", "after"]


def test_nor_does_an_absence_before_a_slice_shorten_its_time() -> None:
    gone = grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
    server = Acquaintance(timeout_s=0.5, connect_s=0.0, retry=True)
    server.met = True
    conversation = Conversation(
        outputs=DEFAULT_OUTPUTS,
        address="here:1",
        timeout_s=0.5,
        acquaintance=server,
        tls=None,
        max_message_bytes=9,
    )
    conversation.begin_call()
    assert isinstance(conversation.take(gone), FurtherCall)
    time.sleep(0.6)
    conversation.begin_call()
    conversation.add(conversation.outgoing(SeriesSlice(id="0", dicom=b"")))
    assert isinstance(conversation.take(gone), FurtherCall)


def test_what_listens_and_says_nothing_is_an_error_within_seconds(ask: Ask) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(ServerError, match=f"no server at {address}"):
            ask("server_info", address, options={"connect_s": 0.0})
        assert time.monotonic() - began < 10
