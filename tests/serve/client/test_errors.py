import grpc
import pytest

from lvseg.errors import ServerError
from lvseg_serve.client.errors import typed_errors
from lvseg_serve.client.patience import Patience


def _unavailable(details: str) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata(), details=details
    )


def test_a_call_that_was_refused_before_anyone_looked_at_it_may_be_tried_again() -> None:
    # As grpcio 1.85 words it, seen under load.
    details = "Stream removed (RST_STREAM (Received RST_STREAM with error code 7))"
    with (
        pytest.raises(ServerError, match="refused the call before it looked at it") as refused,
        typed_errors("127.0.0.1:1", 30.0, None),
    ):
        raise _unavailable(details)
    assert refused.value.reason == "STREAM_REFUSED"
    assert Patience(30.0, retry=True).wait_s(refused.value) >= 0.1


def test_a_server_that_is_not_there_is_tried_again_for_its_own_time() -> None:
    with (
        pytest.raises(ServerError, match="no server at") as gone,
        typed_errors("127.0.0.1:1", 30.0, None),
    ):
        raise _unavailable("failed to connect to all addresses")
    assert Patience(30.0, absent_s=5.0, retry=True).wait_s(gone.value) < 1
    with pytest.raises(ServerError, match="no server"):
        Patience(30.0, absent_s=0.1, retry=True).wait_s(gone.value)
