"""Find files below folders: the same ones in the same order on every file system."""

import filecmp
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from lvseg.errors import DatasetError

_PREAMBLE_BYTES = 128
_MAGIC = b"DICM"


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield every regular file below ``folder``, in the order of the sorted folders and names.

    Links to folders are followed, each folder being visited once. Hidden files and folders are passed
    over: they are droppings of a desktop (``.DS_Store``, ``._IM-0004-0048.dcm``), not data.

    Raises:
        OSError: If a folder cannot be listed.
    """
    visited: set[Path] = set()
    for name, subfolders, files in os.walk(folder, followlinks=True, onerror=_raise):
        real = Path(name).resolve()
        if real in visited:
            subfolders.clear()
            continue
        visited.add(real)
        subfolders[:] = sorted(subfolder for subfolder in subfolders if not subfolder.startswith("."))
        for file in sorted(files):
            path = Path(name, file)
            if not file.startswith(".") and path.is_file():
                yield path


def _raise(error: OSError) -> None:
    raise error


def looks_like_dicom(path: Path) -> bool:
    """Tell a DICOM object by its name (``.dcm``) or, where the name says nothing, by its first bytes.

    A ``DICOMDIR`` is a directory of such objects and none itself.
    """
    if path.name.upper() == "DICOMDIR":
        return False
    if path.suffix.lower() == ".dcm":
        return True
    with path.open("rb") as file:
        return file.read(_PREAMBLE_BYTES + len(_MAGIC))[_PREAMBLE_BYTES:] == _MAGIC


def distinct(paths: Iterable[Path]) -> list[Path]:
    """Return the paths in order, without those whose file has the content of one before."""
    found: list[Path] = []
    for path in sorted(paths):
        if not any(filecmp.cmp(path, other, shallow=False) for other in found):
            found.append(path)
    return found


def files_below(folder: Path, option: str) -> tuple[Path, ...]:
    """Return every file below a folder that an option names.

    Raises:
        DatasetError: If there is no such folder.
        OSError: If a folder cannot be listed.
    """
    if not folder.is_dir():
        raise DatasetError(
            f"{folder}: no such folder; {option} names the folder that holds the {option.removeprefix('--')}",
            reason="NO_SUCH_FOLDER",
            field=option,
        )
    return tuple(walk_files(folder))


def find_dicom(paths: Iterable[Path]) -> list[Path]:
    """Return the DICOM files among ``paths`` and below those that are folders, sorted, each once.

    A file that is named itself is returned whatever it holds, so that whoever reads it says what is wrong
    with it. The list may be empty.

    Raises:
        DatasetError: If a path does not exist.
        OSError: If a folder or file cannot be read.
    """
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            found.update(file for file in walk_files(path) if looks_like_dicom(file))
        elif path.exists():
            found.add(path)
        else:
            raise DatasetError(
                f"{path}: no such file or folder; name DICOM files or folders of them",
                reason="NO_SUCH_FILE",
                expected="a DICOM file or a folder",
            )
    return sorted(found)
