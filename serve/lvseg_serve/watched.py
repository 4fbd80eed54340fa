"""What files hold, read anew when they change under a running server."""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from lvseg.errors import OptionError
from lvseg_serve.events import ReloadFailed
from lvseg_serve.logs import log

_Value = TypeVar("_Value")
_Marks = tuple[tuple[int, int, int] | None, ...]


class Watched(Generic[_Value]):
    """A value that was read from files, and is again when one of them changes.

    New files that cannot be used leave the former value in force and are logged once: a slip during a rotation
    must neither stop the server nor open it. May be asked from several threads.

    Args:
        paths: The files.
        read: Reads and checks them.

    Raises:
        OptionError: If the files cannot be used to begin with.
    """

    def __init__(self, paths: Sequence[Path], read: Callable[[], _Value]) -> None:
        self._paths = tuple(paths)
        self._read = read
        self._lock = threading.Lock()
        # Before they are read: a change meanwhile is then seen the next time.
        self._marks = self._look()
        self._value = read()

    def current(self) -> _Value:
        """Return the value of the newest files that could be used."""
        with self._lock:
            marks = self._look()
            if marks != self._marks:
                self._marks = marks
                try:
                    self._value = self._read()
                except OptionError as error:
                    log(ReloadFailed(error=f"{error}; what was read before stays in force"))
            return self._value

    def _look(self) -> _Marks:
        return tuple(map(_mark, self._paths))


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Return what differs between a file and the one that took its place."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size
