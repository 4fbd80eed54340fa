"""How long a call goes on asking a busy server."""

import math
import random
from time import monotonic

from lvseg.errors import ServerError

_SPREAD = 0.5
"""Waits are longer by up to this share, so that those who were refused together do not come back together."""


class Patience:
    """The time of one call, or of one slice of a stream: all its tries, and the waits between them.

    Args:
        timeout_s: How long it may take.
        retry: Whether to try again when the server asks for it.
        tries: How many tries there may be.
    """

    def __init__(self, timeout_s: float, *, retry: bool, tries: float = math.inf) -> None:
        self._end = monotonic() + timeout_s
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
        if not self._retry or error.retry_after_s is None or self._tries_left < 1:
            return None
        wait_s = error.retry_after_s * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - no secret
        return wait_s if wait_s < self.left_s else None

    def wait_s(self, error: ServerError) -> float:
        """Return what :meth:`try_again_in_s` does.

        Raises:
            ServerError: The error itself, where there is no next try.
        """
        wait_s = self.try_again_in_s(error)
        if wait_s is None:
            raise error
        return wait_s
