"""What a server says of itself at this moment: what it runs, and whether it can answer."""

from collections.abc import Awaitable, Callable

from lvseg_serve.answers import ServerInfo
from lvseg_serve.draining import Draining
from lvseg_serve.events import Health
from lvseg_serve.logs import log

Follower = Callable[[bool], Awaitable[None]]
"""Told whether the server can answer."""


class ServerState:
    """The one truth about a running server, for its event loop's thread.

    Args:
        info: What it says of itself; whoever swaps the model writes it anew.
        serving: Whether it can answer.
    """

    def __init__(self, info: ServerInfo, *, serving: bool = True) -> None:
        self.info = info
        self.draining = Draining()
        """Whether it has been told to stop."""
        self._serving = serving
        self._starting = not serving
        self._why = "" if serving else "it starts"
        self._followers: list[Follower] = []

    @property
    def serving(self) -> bool:
        """Whether the server can answer."""
        return self._serving

    @property
    def why(self) -> str:
        """Why it cannot, in one line; empty when it can."""
        return self._why

    async def follow(self, follower: Follower) -> None:
        """Tell a follower how it is, and each change from then on."""
        self._followers.append(follower)
        await follower(self._serving)

    async def turn(self, why_not: str = "") -> None:
        """Say whether the server can answer; a change is logged and told, anything else is neither.

        Args:
            why_not: Why it cannot, in one line; empty when it can.
        """
        serving, first = not why_not, self._starting
        changed = serving != self._serving
        self._serving, self._why, self._starting = serving, why_not, False
        if (changed or first) and not (first and serving):  # that it begins to serve is told as ready
            log(Health(status="SERVING" if serving else "NOT_SERVING", why=why_not or None))
        if changed:
            for follower in self._followers:
                await follower(serving)
