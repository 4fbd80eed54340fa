"""How long a call goes on asking a server that is busy, or not there."""

import math
import random
from collections.abc import Callable
from time import monotonic

from lvseg.errors import ServerError
from lvseg_serve.client.errors import NO_SERVER
from lvseg_serve.client.tls_faults import GUESSED

_SPREAD = 0.5
"""Waits are longer by up to this share, so that those who were refused together do not come back together."""
_ABSENT_PAUSE_S = 0.25
"""Between two tries at a server that is not there. They cost nobody anything: gRPC connects at a pace of its own."""


class Patience:
    """The time of one call, or of one slice of a stream: all its tries, and the waits between them.

    Args:
        timeout_s: How long it may take.
        absent_s: How long of that it may take to find a server that has never answered.
        met: Tells whether the server has answered, so that all the time is for finding it again, and that it is no
            fault of TLS when it closes a connection at once.
        retry: Whether to try again when the server asks for it, or is not there.
        tries: How many tries there may be.
    """

    def __init__(
        self,
        timeout_s: float,
        *,
        absent_s: float = 0.0,
        met: Callable[[], bool] = lambda: False,
        retry: bool,
        tries: float = math.inf,
    ) -> None:
        began = monotonic()
        self._end = began + timeout_s
        self._absent_end = began + min(absent_s, timeout_s)
        self._met = met
        self._retry = retry
        self._tries_left = tries

    @property
    def left_s(self) -> float:
        """Seconds that are left, and 0 when none are."""
        return max(0.0, self._end - monotonic())

    def try_again_in_s(self, error: ServerError) -> float | None:
        """Return for how long to wait until the next try, after one that failed.

        ``None``: there is none, as the server does not ask to be tried again, too late, or too often.
        """
        self._tries_left -= 1
        met = self._met()
        absent = error.reason == NO_SERVER or (met and error.reason in GUESSED)
        pause_s = _ABSENT_PAUSE_S if absent else error.retry_after_s
        end = self._absent_end if absent and not met else self._end
        if not self._retry or pause_s is None or self._tries_left < 1:
            return None
        wait_s = pause_s * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - no secret
        return wait_s if monotonic() + wait_s < end else None

    def wait_s(self, error: ServerError) -> float:
        """Return what :meth:`try_again_in_s` does.

        Raises:
            ServerError: The error itself, where there is no next try.
        """
        wait_s = self.try_again_in_s(error)
        if wait_s is None:
            raise error
        return wait_s


class Acquaintance:
    """What a client knows of its server from one call to the next: whether there is one at its address.

    A server that has answered once and is not there any more is being started anew: a call waits for it as long as for
    its answer. Where none was ever seen the address may be wrong, and waiting has a limit of its own.

    Args:
        timeout_s: How long a call may take.
        connect_s: How long of that it waits for a server that has never answered.
        retry: Whether any call is tried again.
    """

    def __init__(self, *, timeout_s: float, connect_s: float, retry: bool) -> None:
        self._timeout_s = timeout_s
        self._connect_s = connect_s
        self._retry = retry
        self.met = False
        """Whether the server has answered."""

    def heard(self, error: ServerError) -> None:
        """Take note of an error: one that tells when to come again is a server's own."""
        self.met = self.met or error.retry_after_s is not None

    def patience(self, *, tries: float = math.inf) -> Patience:
        """Return the time of a call, or of a slice, that begins now."""
        return Patience(
            self._timeout_s, absent_s=self._connect_s, met=lambda: self.met, retry=self._retry, tries=tries
        )
