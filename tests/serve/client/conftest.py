"""Both clients behind one function, so that they share their tests."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from lvseg_serve.client import AsyncClient, Client

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


@pytest.fixture
def nowhere() -> str:
    """An address on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return f"127.0.0.1:{free.getsockname()[1]}"
