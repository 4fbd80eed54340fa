"""Time how long it takes to find and decode a data set: all labelled slices, and every DICOM file.

python benchmarks/data_loading.py --images DIR --contours DIR [--label-format masks|seg|nifti] [--label N]
"""

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import click

from lvseg.data.files import find_dicom
from lvseg.data.labelled import load_all
from lvseg.data.sources import LABEL_FORMATS, index_labels
from lvseg.dicom import read_slice

T = TypeVar("T")

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.option("--images", type=_FOLDER, required=True)
@click.option("--contours", type=_FOLDER, required=True)
@click.option("--label-format", type=click.Choice(list(LABEL_FORMATS)), default="contours")
@click.option("--label", type=int)
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True)
def main(images: Path, contours: Path, label_format: str, label: int | None, runs: int) -> None:
    """Print how much there is, the seconds of the first run, and the median of the others."""
    samples = _time("index", runs, lambda: index_labels(images, contours, label_format, label=label).samples)
    _time("decode slices and labels", runs, lambda: load_all(samples).images)
    if label_format != "nifti":
        files = find_dicom([images])
        _time("decode every DICOM file", runs, lambda: [read_slice(file) for file in files])


def _time(what: str, runs: int, work: Callable[[], Sequence[T]]) -> Sequence[T]:
    seconds = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        found = work()
        seconds.append(time.perf_counter() - started)
    usual = statistics.median(seconds[1:])
    print(  # noqa: T201
        f"{what}: {len(found)}, first {seconds[0]:.3f} s, then {usual:.3f} s, {1000 * usual / len(found):.2f} ms each"
    )
    return found


if __name__ == "__main__":
    main()
