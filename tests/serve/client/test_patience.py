"""How long a client goes on asking a server that is busy."""

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from lvseg.errors import ServerError
from lvseg_serve.client import AsyncClient, Client
from lvseg_serve.client.errors import NO_SERVER
from lvseg_serve.client.patience import Acquaintance, Patience
from lvseg_serve.segmenter import Room

Serving = Callable[..., AbstractContextManager[str]]
BUSY = ServerError("busy", code="RESOURCE_EXHAUSTED", reason="OVERLOAD", retry_after_s=2.0)


def test_it_waits_as_long_as_the_server_says_and_up_to_half_as_long_again():
    waits_s = [Patience(60, retry=True).wait_s(BUSY) for _ in range(50)]
    assert 2.0 <= min(waits_s) < max(waits_s) <= 3.0


@pytest.mark.parametrize(
    ("patience", "error"),
    [
        (Patience(60, retry=False), BUSY),
        (Patience(1.9, retry=True), BUSY),
        (Patience(60, retry=True), ServerError("gone", code="UNAVAILABLE")),
    ],
    ids=["not wanted", "too late", "not asked for"],
)
def test_otherwise_the_error_is_the_callers(patience, error):
    with pytest.raises(ServerError) as raised:
        patience.wait_s(error)
    assert raised.value is error


def test_a_server_that_said_when_to_come_again_is_waited_for_when_it_has_gone():
    server = Acquaintance(timeout_s=60, connect_s=0, retry=True)
    patience, gone = server.patience(), ServerError("gone", code="UNAVAILABLE", reason=NO_SERVER)
    assert patience.try_again_in_s(gone) is None
    server.heard(BUSY)
    assert patience.try_again_in_s(gone) is not None


def test_a_slice_that_a_busy_server_does_not_take_is_an_error_with_the_time_to_come_again(
    serving: Serving, gated_engine, dicom: bytes
):
    with serving(gated_engine, room=Room(slices=1)) as address, Client(address, retry=False) as client:
        first = threading.Thread(target=client.segment, args=[dicom])
        first.start()
        assert gated_engine.entered.wait(timeout=60)
        with pytest.raises(ServerError, match="is busy: 1 slices are under way") as refused:
            client.segment(dicom)
        assert (refused.value.code, refused.value.reason) == ("RESOURCE_EXHAUSTED", "OVERLOAD")
        assert refused.value.retry_after_s == pytest.approx(0.1)
        gated_engine.gate.set()
        first.join()


def test_a_patient_client_is_answered_when_there_is_room(serving: Serving, gated_engine, dicom: bytes):
    with serving(gated_engine, room=Room(slices=1)) as address, Client(address) as client:
        first = threading.Thread(target=client.segment, args=[dicom])
        first.start()
        assert gated_engine.entered.wait(timeout=60)
        threading.Timer(0.3, gated_engine.gate.set).start()
        started = time.monotonic()
        assert client.segment(dicom).area_mm2 == 900.0
        assert time.monotonic() - started >= 0.3
        first.join()


async def test_so_is_a_patient_client_for_asyncio(serving: Serving, gated_engine, dicom: bytes):
    with serving(gated_engine, room=Room(slices=1)) as address, Client(address) as other:
        first = threading.Thread(target=other.segment, args=[dicom])
        first.start()
        assert gated_engine.entered.wait(timeout=60)
        threading.Timer(0.3, gated_engine.gate.set).start()
        async with AsyncClient(address) as client:
            assert (await client.segment(dicom)).area_mm2 == 900.0
        first.join()
