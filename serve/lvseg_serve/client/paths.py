"""Where slices lie, and what their results are called."""

import os
from collections.abc import Sequence
from pathlib import Path


def absolute(path: Path) -> Path:
    """Return a path from the root without ``..``, by which the same file is known however it was named.

    Links keep their names, so that results are called what the user sees.
    """
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps "..", Path.resolve follows links


def result_names(files: Sequence[Path]) -> list[str]:
    """Return a name for the results of each of some different files: its path below their common folder.

    ``.dcm`` and other endings are left out where no two files differ in nothing else.

    Example:
        >>> result_names([Path("/a/1/x.dcm"), Path("/a/2/x.dcm")])
        ['1/x', '2/x']
    """
    places = [absolute(file) for file in files]
    common = Path(os.path.commonpath([place.parent for place in places]))
    whole = [place.relative_to(common) for place in places]
    short = [place.with_suffix("") for place in whole]
    return [place.as_posix() for place in (short if len(set(short)) == len(whole) else whole)]
