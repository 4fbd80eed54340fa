"""Files that are written whole or not at all, whenever the writer is killed and whatever the disk does."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_UNFINISHED = ".unfinished"


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Yield a stream whose content takes the place of a file when the block ends without an error.

    Content and name are on the disk before this returns. A file that stood there stays until then, and after
    an error. What a killed writer leaves is named so that :func:`remove_unfinished` finds it.

    Raises:
        OSError: If it cannot be written; the error names ``path``.
    """
    unfinished = _unfinished(path)
    try:
        with unfinished.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        _move(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror, str(path)) from error
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def same_content(source: Path, path: Path) -> None:
    """Let a file be the same as another: one of two names of it, so that this needs neither time nor space.

    Writing ``source`` anew by :func:`whole_file` leaves ``path`` as it is.

    Raises:
        OSError: If it cannot be written.
    """
    if path.exists() and path.samefile(source):
        return
    unfinished = _unfinished(path)
    unfinished.unlink(missing_ok=True)
    try:
        unfinished.hardlink_to(source)
    except OSError:  # some file systems know no second names
        with source.open("rb") as content, whole_file(path) as stream:
            while block := content.read(1 << 20):
                stream.write(block)
    else:
        _move(unfinished, path)


def remove_unfinished(folder: Path) -> None:
    """Remove what killed writers left in a folder."""
    for unfinished in folder.glob(f".*{_UNFINISHED}"):
        unfinished.unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}{_UNFINISHED}")


def _move(source: Path, path: Path) -> None:
    source.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
