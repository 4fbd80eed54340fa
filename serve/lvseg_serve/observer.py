"""What a server tells of its work while it works; knows neither gRPC nor what the numbers are for."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum

from lvseg_serve.answers import StageTimings

INTERNAL = "INTERNAL"
"""Reason of a failure that no caller can mend."""
OVERLOAD, WORKER_LOST, ENGINE_LOST, STOPPING = "OVERLOAD", "WORKER_LOST", "ENGINE_LOST", "STOPPING"
"""Reasons of refusals that tell when to come again."""


class Peer(StrEnum):
    """By which kind of address a caller came; which one it was is nobody's business here."""

    IPV4 = "ipv4"
    IPV6 = "ipv6"
    UNIX = "unix"
    OTHER = "other"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One call that has ended."""

    method: str
    """Such as ``"lvseg_api.v1.SegmentationService/Segment"``; never a name that the caller made up."""
    code: str
    """Name of the gRPC status code, such as ``"OK"``."""
    reason: str | None
    """Stable word of the last refusal in it, such as ``"NOT_DICOM"``; ``None``: nothing was refused."""
    reference: str | None
    """Under which the log tells of an error within it that is the server's own."""
    peer: Peer
    seconds: float
    """From its start until the last byte of the answer was handed over."""
    bytes_in: int
    bytes_out: int
    slices: int
    """How many were segmented."""
    timings: StageTimings | None
    """Of its slices, added up; ``None``: none was segmented."""


class Observer:
    """Is told what happens, from the event loop's thread; this one does nothing with it."""

    def ready(self, ready: bool) -> None:
        """The server takes calls now, or takes no more."""

    def call_began(self, method: str) -> None:
        """A call came in; ``method`` as in :class:`Call`."""

    def refused(self, reason: str) -> None:
        """A slice, or a whole call, was refused or failed."""

    def segmented(self, timings: StageTimings) -> None:
        """A slice was segmented."""

    def call_ended(self, call: Call) -> None:
        """A call has ended, one way or another."""

    def batch(self, slices: int, seconds: float) -> None:
        """The engine has run once, on so many slices."""


SILENT = Observer()
"""For those whom nobody observes."""


class Observers(Observer):
    """Passes on what it is told to several observers."""

    def __init__(self, *observers: Observer) -> None:
        self._observers = observers

    def _each(self, tell: Callable[[Observer], None]) -> None:
        for observer in self._observers:
            tell(observer)

    def ready(self, ready: bool) -> None:
        """Pass it on."""
        self._each(lambda observer: observer.ready(ready))

    def call_began(self, method: str) -> None:
        """Pass it on."""
        self._each(lambda observer: observer.call_began(method))

    def refused(self, reason: str) -> None:
        """Pass it on."""
        self._each(lambda observer: observer.refused(reason))

    def segmented(self, timings: StageTimings) -> None:
        """Pass it on."""
        self._each(lambda observer: observer.segmented(timings))

    def call_ended(self, call: Call) -> None:
        """Pass it on."""
        self._each(lambda observer: observer.call_ended(call))

    def batch(self, slices: int, seconds: float) -> None:
        """Pass it on."""
        self._each(lambda observer: observer.batch(slices, seconds))


def add_timings(first: StageTimings | None, second: StageTimings) -> StageTimings:
    """Return the sum of the times of two slices, stage by stage."""
    if first is None:
        return second
    names = [field.name for field in fields(StageTimings)]
    return StageTimings(**{name: getattr(first, name) + getattr(second, name) for name in names})
