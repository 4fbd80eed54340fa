"""When a server is told to stop: waits for callers who need never say anything more end then."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from lvseg.errors import StoppingError

_LAST_WORD_S = 0.1
"""For what is on its way already: that the caller has closed its side, that a server's last news are sent."""

_Message = TypeVar("_Message")


class Draining:
    """Whether a server has been told to stop; for its event loop's thread."""

    def __init__(self) -> None:
        self._begun = False
        self._waits: set[asyncio.Timeout] = set()

    def begin(self) -> None:
        """End every wait for a caller, those under way and those to come."""
        if self._begun:
            return
        self._begun = True
        end = asyncio.get_running_loop().time() + _LAST_WORD_S
        for wait in self._waits:
            wait.reschedule(end)

    @asynccontextmanager
    async def waiting(self) -> AsyncIterator[None]:
        """Wait for a caller inside the block, for as long as the server is not told to stop.

        Raises:
            StoppingError: If it is.
        """
        try:
            async with asyncio.timeout(_LAST_WORD_S if self._begun else None) as wait:
                self._waits.add(wait)
                try:
                    yield
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            if wait.expired():
                raise _stopping() from None
            raise

    async def until(self, messages: AsyncIterable[_Message]) -> AsyncIterator[_Message]:
        """Yield a caller's messages; one that comes when the server is told to stop is not taken any more.

        Raises:
            StoppingError: If the server is told to stop before the caller has closed its side.
        """
        coming = aiter(messages)
        while True:
            async with self.waiting():
                message = await anext(coming, None)
            if message is None:
                return
            if self._begun:
                raise _stopping()
            yield message


def _stopping() -> StoppingError:
    return StoppingError("the server is being stopped; send the slices that it has not answered again")
