import socket
import threading
from contextlib import suppress

import grpc
import pytest

from lvseg.errors import ServerError
from lvseg_serve.client.errors import typed_errors
from lvseg_serve.client.patience import Patience
from tests.serve.client.conftest import Ask
from tests.serve.soak.http2 import refuse_calls


def _unavailable(details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details
    )


def test_a_call_that_was_refused_before_anyone_looked_at_it_is_tried_again(ask: Ask) -> None:
    """Nothing but gRPC's wording tells such a call from a connection that broke off, so the test has it of gRPC."""
    connections: list[socket.socket] = []
    refused: list[int] = []

    def serve() -> None:
        connections.append(listener.accept()[0])
        refuse_calls(connections[0], refused)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        with pytest.raises(ServerError, match="refused the call before it looked at it") as raised:
            ask("server_info", address, options={"timeout_s": 1.0, "connect_s": 0.0})
        with suppress(OSError):  # where the client has hung up already
            connections[0].shutdown(socket.SHUT_RDWR)
        thread.join()
    assert (raised.value.code, raised.value.reason) == ("UNAVAILABLE", "STREAM_REFUSED")
    assert len(refused) >= 3


def test_a_server_that_is_not_there_is_tried_again_for_its_own_time() -> None:
    with (
        pytest.raises(ServerError, match="no server at") as gone,
        typed_errors("127.0.0.1:1", 30.0, None),
    ):
        raise _unavailable("failed to connect to all addresses")
    assert Patience(30.0, absent_s=5.0, retry=True).wait_s(gone.value) < 1
    with pytest.raises(ServerError, match="no server"):
        Patience(30.0, absent_s=0.1, retry=True).wait_s(gone.value)
