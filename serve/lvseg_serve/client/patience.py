"""How long a call goes on asking a busy server."""

import random
from time import monotonic

from lvseg.errors import ServerError

_SPREAD = 0.5
"""Waits are longer by up to this share, so that those who were refused together do not come back together."""


class Patience:
    """The time of one call: all its tries, and the waits between them.

    Args:
        timeout_s: How long it may take.
        retry: Whether to try again when the server asks for it.
    """

    def __init__(self, timeout_s: float, *, retry: bool) -> None:
        self._end = monotonic() + timeout_s
        self._retry = retry

    @property
    def left_s(self) -> float:
        """Seconds that are left, and 0 when none are."""
        return max(0.0, self._end - monotonic())

    def wait_s(self, error: ServerError) -> float:
        """Return for how long to wait until the next try, after one that failed.

        Raises:
            ServerError: The error itself, where the server does not ask to be tried again, or too late.
        """
        if not self._retry or error.retry_after_s is None:
            raise error
        wait_s = error.retry_after_s * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - no secret
        if wait_s >= self.left_s:
            raise error
        return wait_s
