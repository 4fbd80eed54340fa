"""Files that secure a connection: read whole, and refused where everybody may read a secret."""

import os
import shlex
import stat
from pathlib import Path

from lvseg.errors import OptionError


def read_file(path: Path, *, option: str) -> bytes:
    """Return what a file holds.

    Raises:
        OptionError: If it cannot be read.
    """
    return _read(path, option, secret=False)


def read_secret(path: Path, *, option: str) -> bytes:
    """Return what a file holds that is to be known to its owner, or its group, alone.

    Raises:
        OptionError: If it cannot be read, or everybody on this machine may read or write it.
    """
    return _read(path, option, secret=True)


def _read(path: Path, option: str, *, secret: bool) -> bytes:
    try:
        with path.open("rb") as file:
            # Windows has no such mode: there the folder's access list says who may read.
            if secret and os.name == "posix":
                _require_private(os.fstat(file.fileno()).st_mode, path, option)
            return file.read()
    except OSError as error:
        raise OptionError(
            f"{path} cannot be read ({error.strerror}); {option} names a file that this process may read",
            reason="UNREADABLE_FILE",
            field=option,
        ) from error


def _require_private(mode: int, path: Path, option: str) -> None:
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise OptionError(
            f"{path} holds a secret and everybody may read or write it (mode {stat.S_IMODE(mode):04o}); "
            f"run: chmod 600 {shlex.quote(str(path))}",
            reason="PUBLIC_SECRET",
            field=option,
            expected="a file for its owner or group alone",
        )
