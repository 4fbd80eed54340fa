"""Objects between two processes: what is small goes through a pipe, arrays and files through memory that both see."""

import mmap
import os
import pickle
import struct
from multiprocessing.connection import Connection
from typing import Any

_KEPT_BYTES = 8 * 2**20
"""Of the shared memory, what stays allocated between two objects; a rare large file gives the rest back."""
_PAGE = mmap.PAGESIZE


_COUNT, _PLACE = struct.Struct("<I"), struct.Struct("<QQ")


class Exchange:
    """One end of the way between two processes, which take turns: one sends, then the other.

    A slice's pixels are half a megabyte. Through a pipe they cost either side a third of a millisecond; here they
    are copied once. The buffers of an object lie behind those of the object that it answers, so that an answer
    may be a view of what was asked.

    Args:
        connection: The pipe.
        memory: File descriptor of the shared memory, which is as large as it may become; pages that nobody
            touched take no room.
    """

    def __init__(self, connection: Connection, memory: int) -> None:
        self._connection = connection
        self._shared = mmap.mmap(memory, os.fstat(memory).st_size)
        self._view = memoryview(self._shared)
        self._used = 0

    def fileno(self) -> int:
        """Return the descriptor that is readable when there is something to receive."""
        return self._connection.fileno()

    def send(self, sent: Any, *, first: bool) -> None:
        """Send an object that can be pickled; its arrays may be of any size that fits.

        Args:
            sent: The object.
            first: Whether it begins an exchange, rather than answering what was received.

        Raises:
            MemoryError: If its buffers do not fit into the shared memory.
            OSError: If the other process is gone.
        """
        buffers: list[pickle.PickleBuffer] = []
        pickled = pickle.dumps(sent, protocol=5, buffer_callback=buffers.append)
        end = 0 if first else self._used
        places: list[tuple[int, int]] = []
        for buffer in buffers:
            with buffer.raw() as raw:
                start, end = end, end + raw.nbytes
                if end > len(self._view):
                    raise MemoryError(f"{end} bytes do not fit into {len(self._view)} of shared memory")
                self._view[start:end] = raw
            places.append((start, end))
        self._used = end
        self._connection.send_bytes(_packed(places) + pickled)

    def receive(self, *, copy: bool) -> Any:
        """Wait for an object and return it.

        Args:
            copy: Whether its arrays are to be its own. Otherwise they are read-only, and hold until this end sends
                a first object or the other end does.

        Raises:
            EOFError: If the other process is gone.
            OSError: If it went while it sent.
        """
        pickled, places = _unpacked(self._connection.recv_bytes())
        self._used = max((end for _, end in places), default=0)
        views = (self._view[start:end] for start, end in places)
        buffers = [bytearray(view) for view in views] if copy else [view.toreadonly() for view in views]
        return pickle.loads(pickled, buffers=buffers)  # noqa: S301 - the other end is a process of our own

    def release(self) -> None:
        """Give memory back beyond what an ordinary slice needs; nothing received without ``copy`` may be in use."""
        if self._used > _KEPT_BYTES:
            length = -(-(self._used - _KEPT_BYTES) // _PAGE) * _PAGE
            self._shared.madvise(mmap.MADV_REMOVE, _KEPT_BYTES, min(length, len(self._view) - _KEPT_BYTES))

    def close(self) -> None:
        """Close this end; the other one notices."""
        self._connection.close()
        self._view.release()
        self._shared.close()


def _packed(places: list[tuple[int, int]]) -> bytes:
    return _COUNT.pack(len(places)) + b"".join(_PLACE.pack(*place) for place in places)


def _unpacked(message: bytes) -> tuple[memoryview, list[tuple[int, int]]]:
    (count,) = _COUNT.unpack_from(message)
    end = _COUNT.size + count * _PLACE.size
    view = memoryview(message)
    return view[end:], [(start, stop) for start, stop in _PLACE.iter_unpack(view[_COUNT.size : end])]
