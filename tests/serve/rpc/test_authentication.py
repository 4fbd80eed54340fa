"""Tokens at the real server, through raw gRPC: what a stranger can reach, and what one who holds a token can."""

import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_serve.rpc.authentication import TokenInterceptor
from lvseg_serve.rpc.server import running_server

OLD, NEW, OTHER = "a" * 32, "b" * 32, "c" * 32


@pytest.fixture
def tokens(tmp_path: Path, put: Callable[[Path, bytes], None]) -> Path:
    """File with the one token ``OLD``."""
    put(tmp_path / "tokens", f"# ward 3\n\n{OLD}\n".encode())
    return tmp_path / "tokens"


@pytest.fixture
async def channel(
    info: Any, make_segmenter: Callable[..., Any], engine: Any, tokens: Path
) -> AsyncIterator[grpc.aio.Channel]:
    @asynccontextmanager
    async def guarded() -> AsyncIterator[grpc.aio.Channel]:
        interceptors = [TokenInterceptor(tokens)]
        async with (
            running_server(
                make_segmenter(engine), info, listen="127.0.0.1:0", interceptors=interceptors
            ) as address,
            grpc.aio.insecure_channel(address) as channel,
        ):
            yield channel

    async with guarded() as channel:
        yield channel


async def _reason(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    assert info.domain == "lvseg"
    return info.reason


def _ask(channel: grpc.aio.Channel, *headers: str) -> Any:
    metadata = [("authorization", header) for header in headers]
    return SegmentationServiceStub(channel).GetServerInfo(pb.GetServerInfoRequest(), metadata=metadata)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_a_token_of_the_file_opens_the_service(channel: grpc.aio.Channel, scheme: str) -> None:
    assert (await _ask(channel, f"{scheme} {OLD}")).model.name == "threshold"


async def test_a_call_without_a_token_is_unauthenticated(channel: grpc.aio.Channel) -> None:
    assert await _reason(_ask(channel)) == "TOKEN_MISSING"


@pytest.mark.parametrize(
    "headers",
    [
        [f"Bearer {OTHER}"],
        [f"Bearer {OLD[:-1]}"],
        [f"Bearer {OLD}a"],
        [f"Basic {OLD}"],
        [OLD],
        ["Bearer"],
        ["Bearer # ward 3"],
        [f"Bearer {OLD}", f"Bearer {OLD}"],
        [f"Bearer {OTHER}", f"Bearer {OLD}"],
    ],
)
async def test_anything_but_one_token_of_the_file_is_refused(
    channel: grpc.aio.Channel, headers: list[str]
) -> None:
    assert await _reason(_ask(channel, *headers)) == "TOKEN_REFUSED"


async def test_the_answer_to_a_stranger_does_not_repeat_what_was_sent(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await _ask(channel, f"Bearer {OTHER}")
    assert OTHER not in repr(caught.value)


async def test_health_can_be_checked_without_a_token(channel: grpc.aio.Channel) -> None:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_health_cannot_be_watched_without_a_token(channel: grpc.aio.Channel) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert await _reason(watch.read()) == "TOKEN_MISSING"


async def test_reflection_wants_the_token(channel: grpc.aio.Channel) -> None:
    def services(**named: Any) -> Any:
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        return stub.ServerReflectionInfo(iter([request]), **named).read()

    assert await _reason(services()) == "TOKEN_MISSING"
    answer = await services(metadata=[("authorization", f"Bearer {OLD}")])
    assert len(answer.list_services_response.service) == 3


async def test_a_stranger_does_not_learn_which_methods_there_are(channel: grpc.aio.Channel) -> None:
    assert await _reason(channel.unary_unary("/lvseg_api.v1.SegmentationService/Nosuch")(b"")) == (
        "TOKEN_MISSING"
    )


async def test_a_strangers_slice_is_refused_before_it_is_read(channel: grpc.aio.Channel, info: Any) -> None:
    # Read, it would be RESOURCE_EXHAUSTED: it is above the server's limit.
    request = pb.SegmentRequest(dicom=bytes(2 * info.limits.max_message_bytes))
    assert await _reason(SegmentationServiceStub(channel).Segment(request)) == "TOKEN_MISSING"


async def test_a_new_file_counts_from_the_next_call_on(
    channel: grpc.aio.Channel, tokens: Path, put: Callable[[Path, bytes], None]
) -> None:
    await _ask(channel, f"Bearer {OLD}")
    put(tokens, f"{OLD}\n{NEW}\n".encode())
    await _ask(channel, f"Bearer {NEW}")
    await _ask(channel, f"Bearer {OLD}")
    put(tokens, f"{NEW}\n".encode())
    assert await _reason(_ask(channel, f"Bearer {OLD}")) == "TOKEN_REFUSED"


@pytest.mark.parametrize(
    ("content", "says"), [(b"", "holds no token"), (f"{NEW}\nshort\n".encode(), "line 2 of .* is no token")]
)
async def test_a_broken_new_file_leaves_the_former_in_force_and_is_logged_once(
    channel: grpc.aio.Channel,
    tokens: Path,
    put: Callable[[Path, bytes], None],
    caplog: pytest.LogCaptureFixture,
    content: bytes,
    says: str,
) -> None:
    put(tokens, content)
    await _ask(channel, f"Bearer {OLD}")
    assert await _reason(_ask(channel, f"Bearer {NEW}")) == "TOKEN_REFUSED"
    (record,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert record.getMessage().endswith("what was read before stays in force")
    assert re.search(says, record.getMessage())
    assert NEW not in caplog.text


async def test_a_file_that_is_gone_leaves_the_former_in_force(
    channel: grpc.aio.Channel, tokens: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tokens.unlink()
    await _ask(channel, f"Bearer {OLD}")
    assert "cannot be read (No such file or directory)" in caplog.text
