"""The slices of a stream on their way to the server: which is sent next, and which have to be sent again."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.client.patience import Patience

PART_BYTES = 2**19
"""Of a file in one message: even with a contour beside it, no server's limit is that low."""


@dataclass(eq=False)
class Outgoing:
    """A slice without an answer so far."""

    id: str
    dicom: bytes
    beginning: pb.SegmentStreamRequest
    """Its first message, with at most ``PART_BYTES`` of the file."""
    patience: Patience | None = None
    """Since it was first lost."""
    due: float = 0.0
    """When it is to be sent again, by :func:`time.monotonic`."""
    cut_off: bool = False
    """Whether it was in a call that broke off."""

    def messages(self) -> Iterator[pb.SegmentStreamRequest]:
        """Yield the messages that carry it, to be sent one after the other."""
        yield self.beginning
        for start in range(PART_BYTES, len(self.dicom), PART_BYTES):
            end = start + PART_BYTES
            yield pb.SegmentStreamRequest(
                id=self.id, dicom_part=self.dicom[start:end], more=end < len(self.dicom)
            )


class Outbox:
    """The slices of a stream that are not answered, over all calls that it takes; for one thread at a time."""

    def __init__(self) -> None:
        self._fresh: deque[Outgoing] = deque()
        self._again: list[Outgoing] = []
        self._sent: dict[str, Outgoing] = {}
        self._call = 0
        self.complete = False
        """Whether no further slice will be added."""

    def __len__(self) -> int:
        """How many slices are not answered."""
        return len(self._fresh) + len(self._again) + len(self._sent)

    def __contains__(self, id_: str) -> bool:
        """Whether a slice of this id is not answered."""
        return id_ in self._sent or any(slice_.id == id_ for slice_ in (*self._fresh, *self._again))

    @property
    def has_lost(self) -> bool:
        """Whether there are slices to be sent again."""
        return bool(self._again)

    @property
    def has_cut_off(self) -> bool:
        """Whether there are slices which were in a call that broke off."""
        return any(slice_.cut_off for slice_ in (*self._again, *self._sent.values()))

    def add(self, slice_: Outgoing) -> None:
        """Take in a slice to be sent after those that came before it."""
        self._fresh.append(slice_)

    def begin_call(self) -> int:
        """Return the number of a new call; what the former was given and has not answered is sent again, first."""
        for slice_ in self._sent.values():
            slice_.cut_off = True
        self._again = [*self._sent.values(), *self._again]
        self._sent.clear()
        self._call += 1
        return self._call

    def next(self, call: int) -> Outgoing | float | None:
        """Return what a call is to send next, or in how many seconds there will be something, as far as is known.

        ``None``: it has nothing more to send, since all was sent, or another call goes on.
        """
        if call != self._call:
            return None
        now = monotonic()
        slice_ = next((slice_ for slice_ in self._again if slice_.due <= now), None)
        if slice_ is not None:
            self._again.remove(slice_)
        elif self._fresh:
            slice_ = self._fresh.popleft()
        elif self._again:
            return min(slice_.due for slice_ in self._again) - now
        else:
            return None if self.complete else math.inf
        self._sent[slice_.id] = slice_
        return slice_

    def sent(self, id_: str) -> Outgoing | None:
        """Return the slice of an id that was sent, or ``None`` if there is none."""
        return self._sent.get(id_)

    def answered(self, id_: str) -> None:
        """Let go of a slice."""
        self._sent.pop(id_, None)

    def send_again(self, slice_: Outgoing, wait_s: float) -> None:
        """Let a slice that was sent be sent once more, so many seconds from now."""
        slice_.due = monotonic() + wait_s
        self._again.append(self._sent.pop(slice_.id))
