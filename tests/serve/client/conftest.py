"""Both clients behind one function, so that they share their tests."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

from lvseg.errors import LvsegError
from lvseg_serve.client import AsyncClient, Client, Segmentation, SeriesSlice, SeriesSummary

Results = list[tuple[str, Segmentation | LvsegError]]
Stream = Callable[..., tuple[Results, SeriesSummary | None]]
Ask = Callable[..., Any]


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Call one method of a client of either kind."""

    def ask_sync(method: str, address: str, *arguments: Any, options: dict[str, Any], **named: Any) -> Any:
        with Client(address, **options) as client:
            return getattr(client, method)(*arguments, **named)

    async def ask_async(
        method: str, address: str, *arguments: Any, options: dict[str, Any], **named: Any
    ) -> Any:
        async with AsyncClient(address, **options) as client:
            return await getattr(client, method)(*arguments, **named)

    def ask(
        method: str, address: str, *arguments: Any, options: dict[str, Any] | None = None, **named: Any
    ) -> Any:
        if request.param == "sync":
            return ask_sync(method, address, *arguments, options=options or {}, **named)
        return asyncio.run(ask_async(method, address, *arguments, options=options or {}, **named))

    return ask


@pytest.fixture(params=["sync", "async", "async with an asynchronous iterable"])
def stream(request: pytest.FixtureRequest) -> Stream:
    """Send slices over one stream of a client of either kind; gives all that came, also into ``results``."""

    async def asynchronous(slices: Iterable[SeriesSlice]) -> AsyncIterator[SeriesSlice]:
        for slice_ in slices:
            yield slice_

    def sync(address: str, slices: Iterable[SeriesSlice], results: Results, options: Any, named: Any) -> Any:
        with Client(address, **options) as client, client.segment_stream(slices, **named) as answers:
            for result in answers:
                results.append(result)
            return answers.summary

    async def async_(address: str, slices: Any, results: Results, options: Any, named: Any) -> Any:
        async with (
            AsyncClient(address, **options) as client,
            client.segment_stream(slices, **named) as answers,
        ):
            async for result in answers:
                results.append(result)
            return answers.summary

    def stream(
        address: str,
        slices: Iterable[SeriesSlice],
        *,
        results: Results | None = None,
        options: dict[str, Any] | None = None,
        **named: Any,
    ) -> tuple[Results, SeriesSummary | None]:
        results = [] if results is None else results
        if request.param == "sync":
            return results, sync(address, slices, results, options or {}, named)
        wrapped = slices if request.param == "async" else asynchronous(slices)
        return results, asyncio.run(async_(address, wrapped, results, options or {}, named))

    return stream


@pytest.fixture
def nowhere() -> str:
    """An address on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"


@pytest.fixture
def late(serving: Callable[..., AbstractContextManager[str]], engine: Any, nowhere: str) -> Iterator[str]:
    """Address of a server that is there a second later."""
    over = threading.Event()

    def serve() -> None:
        time.sleep(1)
        with serving(engine, listen=nowhere):
            over.wait()

    thread = threading.Thread(target=serve)
    thread.start()
    yield nowhere
    over.set()
    thread.join()
