"""Which expert contour belongs to which of the slices to send."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from lvseg.data.sunnybrook import Problem, index_sunnybrook
from lvseg.errors import DatasetError
from lvseg_serve.client.paths import absolute

# What a walk through one of several folders may meet though the folders together are in order.
_ELSEWHERE = {"NOTHING_MATCHES", "NO_DICOM"}


@dataclass(frozen=True)
class Matched:
    """Which slice has which contour."""

    contour_of: dict[Path, Path]
    """From a slice's absolute path to its contour; a slice without one is not a key."""
    problems: tuple[Problem, ...]
    """Contours that may belong to a slice but cannot be used, such as two for one image."""


def match_contours(paths: Iterable[Path], slices: Collection[Path], contours: Path) -> Matched:
    """Find the i-contours below ``contours`` that belong to ``slices``.

    Args:
        paths: The files and folders that were named on the command line; a file's folder is walked.
        slices: The DICOM files found there.
        contours: Folder with contours in either Sunnybrook layout.

    Raises:
        DatasetError: If ``contours`` holds no contours, or none that belongs to a slice.
    """
    wanted = {absolute(slice_) for slice_ in slices}
    contour_of: dict[Path, Path] = {}
    problems: dict[Path, Problem] = {}
    first_fault: DatasetError | None = None
    for folder in dict.fromkeys(path if path.is_dir() else path.parent for path in paths):
        try:
            index = index_sunnybrook(folder, contours)
        except DatasetError as error:
            if error.reason not in _ELSEWHERE:
                raise
            first_fault = first_fault or error
            continue
        for sample in index.samples:
            if absolute(sample.image) in wanted:
                contour_of[absolute(sample.image)] = sample.contour
        # Contours without an image here are those of other patients, or of slices that are not sent.
        problems.update((found.contour, found) for found in index.problems if found.reason != "NO_IMAGE")
    if not contour_of:
        raise first_fault or DatasetError(
            f"no contour below {contours} belongs to one of the {len(wanted)} slices; check both folders",
            reason="NOTHING_MATCHES",
            field="--contours",
        )
    return Matched(contour_of, tuple(problems.values()))
