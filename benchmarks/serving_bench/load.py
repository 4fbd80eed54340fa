"""The load: clients that each send the next slice when they have the answer to the one before, all in this process.

Requests are bytes that were made beforehand and answers bytes that nobody parses, so that the clients cost little and
the same for every server of a protocol. Each client has a connection of its own, opened for each loop.
"""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import NamedTuple

import aiohttp
import grpc

Call = Callable[[bytes], Awaitable[bytes]]
Client = Callable[[], AbstractAsyncContextManager[Call]]
"""Opens a connection; what it yields sends a request on it."""

TIMEOUT_S = 60
_MAX_MESSAGE_BYTES = 64 * 2**20


class LoadError(Exception):
    """A server did not answer, or not well."""


class Loop(NamedTuple):
    """What some clients saw."""

    latencies_ms: list[float]
    seconds: float
    client_cpu_s: float
    """Of this process."""

    @property
    def slices_per_s(self) -> float:
        """Answers in a second."""
        return len(self.latencies_ms) / self.seconds


@asynccontextmanager
async def grpc_client(port: int, method: str) -> AsyncIterator[Call]:
    """Yield the call of a gRPC method, bytes to bytes, on a connection of its own."""
    options = [
        ("grpc.use_local_subchannel_pool", 1),
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        method_call = channel.unary_unary(method)

        async def call(request: bytes) -> bytes:
            try:
                answer: bytes = await method_call(request, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                raise LoadError(f"{error.code().name}: {error.details()}") from error
            return answer

        yield call


@asynccontextmanager
async def http_client(port: int, path: str) -> AsyncIterator[Call]:
    """Yield the call of a path by POST, bytes to bytes, on a connection of its own that is kept alive."""
    url = f"http://127.0.0.1:{port}{path}"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=1),
        headers={"Content-Type": "application/dicom"},
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    ) as session:

        async def call(request: bytes) -> bytes:
            try:
                async with session.post(url, data=request) as response:
                    answer = await response.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise LoadError(f"{type(error).__name__}: {error}") from error
            if response.status != 200:
                raise LoadError(f"HTTP {response.status}: {answer[:200].decode(errors='replace')}")
            return answer

        yield call


async def closed_loop(client: Client, clients: int, requests: Sequence[bytes], seconds: float) -> Loop:
    """Let clients send slices for some seconds; each has been answered once before the time begins.

    Raises:
        LoadError: If a call fails.
    """
    async with AsyncExitStack() as stack:
        calls = [await stack.enter_async_context(client()) for _ in range(clients)]
        await asyncio.gather(*(call(requests[0]) for call in calls))
        latencies_ms: list[float] = []
        started, cpu_s = time.perf_counter(), time.process_time()

        async def send(call: Call, first: int) -> None:
            for request in itertools.islice(itertools.cycle(requests), first, None):
                now = time.perf_counter()
                if now >= started + seconds:
                    return
                await call(request)
                latencies_ms.append((time.perf_counter() - now) * 1e3)

        await asyncio.gather(*(send(call, index) for index, call in enumerate(calls)))
        return Loop(latencies_ms, time.perf_counter() - started, time.process_time() - cpu_s)
