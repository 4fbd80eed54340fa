"""Files that results go to, looked at before anything is measured."""

from importlib.util import find_spec
from pathlib import Path

from lvseg.errors import OptionError, missing_extra


def check_output(path: Path, *, option: str, overwrite: bool) -> None:
    """Check that a result may be written to a file.

    Args:
        path: The file.
        option: The option that names it, such as ``"--json"``.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        OptionError: If its folder does not exist, or the file does and may not be replaced.
    """
    if not path.parent.is_dir():
        raise OptionError(f"{path.parent}: no such folder", reason="NO_SUCH_FOLDER", field=option)
    if path.exists() and not overwrite:
        raise OptionError(
            f"{path} exists: choose another {option} or pass --overwrite",
            reason="OUTPUT_EXISTS",
            field=option,
        )


def require_module(module: str, *, extra: str, option: str) -> None:
    """Check that an optional library is installed.

    Raises:
        OptionError: If it is not; the message has the command that installs it.
    """
    if find_spec(module) is None:
        raise missing_extra(module, extra, field=option)
