"""Result folders: written whole or not at all, and never over something that is not ours."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lvseg.errors import OptionError


def check_free(folder: Path, *, signature: str, overwrite: bool, option: str = "--out") -> None:
    """Check that results may be written to ``folder``, before any work is done.

    Args:
        folder: Where the results shall be.
        signature: Name of the file by which a former result of the same kind is known.
        overwrite: Whether a former result may be replaced. Anything else never is.
        option: The option that names the folder, for the messages.

    Raises:
        OptionError: If ``folder`` holds something and may not be replaced.
    """
    if folder.resolve() == Path.cwd():
        raise OptionError(
            f"{folder} is the folder that you are in: name one below it",
            reason="OUTPUT_EXISTS",
            field=option,
        )
    above = next(parent for parent in folder.absolute().parents if parent.exists())
    if not above.is_dir():
        raise OptionError(f"{above} is a file: choose another {option}", reason="OUTPUT_EXISTS", field=option)
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    if not (folder / signature).is_file():
        raise OptionError(
            f"{folder} exists and is not a former result (it holds no {signature}): choose another {option}",
            reason="OUTPUT_EXISTS",
            field=option,
        )
    if not overwrite:
        raise OptionError(
            f"{folder} holds a former result: choose another {option} or pass --overwrite",
            reason="OUTPUT_EXISTS",
            field=option,
        )


def remove_former(folder: Path) -> None:
    """Remove a former result that :func:`check_free` has allowed to be replaced."""
    if folder.exists():
        shutil.rmtree(folder)


@contextmanager
def new_folder(
    folder: Path, *, signature: str, overwrite: bool = False, option: str = "--out"
) -> Iterator[Path]:
    """Yield an empty folder that takes the place of ``folder`` when the block ends without an error.

    The arguments and errors are those of :func:`check_free`. After an error nothing has changed.
    """
    check_free(folder, signature=signature, overwrite=overwrite, option=option)
    folder.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        staging.chmod(0o755)
        yield staging
        former = staging.with_name(f"{staging.name}-former")
        if folder.exists():
            folder.rename(former)
        try:
            staging.rename(folder)
        except OSError:
            if former.exists():
                former.rename(folder)
            raise
        shutil.rmtree(former, ignore_errors=True)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
