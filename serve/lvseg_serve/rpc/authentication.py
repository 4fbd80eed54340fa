"""Who may call: whoever shows a bearer token that the server knows."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

import grpc
from grpc_health.v1 import health

from lvseg.errors import SecurityError
from lvseg_serve.rpc.status import errors_as_status
from lvseg_serve.tokens import TokenSet, read_tokens
from lvseg_serve.watched import Watched

OPEN_METHOD = f"/{health.SERVICE_NAME}/Check"
"""The one method without a token: whoever restarts or balances servers holds none, and learns only that it runs.

Not ``Watch``, which holds a stream for as long as its caller likes.
"""

_HEADER = "authorization"
_SCHEME = "bearer"

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class TokenInterceptor(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """Refuses every call without a token that is in the file, those to methods that do not exist too.

    Args:
        path: The file; it is read again when it changes.

    Raises:
        OptionError: If the file cannot be used to begin with; later on that is logged.
    """

    def __init__(self, path: Path) -> None:
        self._tokens = Watched([path], lambda: TokenSet(read_tokens(path)))

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler:
        """Hand a call on, or answer it with UNAUTHENTICATED."""
        if handler_call_details.method == OPEN_METHOD:
            return await continuation(handler_call_details)
        try:
            self._check(handler_call_details.invocation_metadata)
        except SecurityError as error:
            return _refusal(error)
        return await continuation(handler_call_details)

    def _check(self, metadata: Iterable[tuple[str, str | bytes]]) -> None:
        values = [str(value) for key, value in metadata if key == _HEADER]
        if not values:
            raise SecurityError(
                "this server wants a token; send it as 'authorization: Bearer TOKEN'", reason="TOKEN_MISSING"
            )
        scheme, _, token = values[0].partition(" ")
        if len(values) > 1 or scheme.lower() != _SCHEME or token.strip() not in self._tokens.current():
            raise SecurityError("this server does not know the token that was sent", reason="TOKEN_REFUSED")


def _refusal(error: SecurityError) -> _Handler:
    """Return what answers a call of any kind with an error."""

    async def refuse(
        requests: AsyncIterator[bytes],  # noqa: ARG001
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> None:
        async with errors_as_status(context):
            raise error

    # As a stream, of which no message is read: a stranger's slice is neither waited for nor held in memory.
    return grpc.stream_stream_rpc_method_handler(refuse)
