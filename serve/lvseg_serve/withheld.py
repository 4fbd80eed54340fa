"""Errors told without what may be a patient's."""

import traceback
from collections.abc import Iterator

from lvseg.errors import LvsegError


def describe(error: BaseException) -> str:
    """Return an error, its causes and where they were raised, without any patient's data.

    Only our own errors promise messages without it, so of all others the text is left out.
    """
    return "\n".join(_lines(error))


def _lines(error: BaseException) -> Iterator[str]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield f"{type(current).__qualname__}: {current if isinstance(current, LvsegError) else '(text withheld)'}"
        yield from (line.rstrip() for line in traceback.format_tb(current.__traceback__))
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
