"""The slices that an export works on: those to check on, and those that int8 takes its ranges from."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from lvseg.cli import notice
from lvseg.data.files import find_dicom
from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sources import index_labels
from lvseg.dicom import Slice, read_slice
from lvseg.errors import DatasetError, DicomError, OptionError
from lvseg.train.run import TrainedRun

CALIBRATION_SLICES = 32
"""The most that ranges are measured on, evenly from all there are."""

_Any = TypeVar("_Any")


def labelled_images(run: TrainedRun, images: Path, contours: Path) -> list[LabelledImage]:
    """Return other images to check on, with labels of the run's own kind; those left out are told."""
    options = run.record.options
    index = index_labels(images, contours, options.label_format, label=options.label)
    loaded = load_all(index.samples)
    for problem in (*index.problems, *loaded.problems):
        notice(f"left out: {problem.message}")
    return list(loaded.images)


def validation_images(run: TrainedRun) -> list[LabelledImage]:
    """Return the run's validation images; those that lie no longer where they did are told."""
    wanted = run.record.validation
    found = _images(run, wanted)
    if len(found) < len(wanted):
        instead = f"checking on {len(found)} of them and" if found else "checking on"
        notice(
            f"{len(wanted) - len(found)} of the run's {len(wanted)} validation slices are not in "
            f"{run.record.options.images} any more: {instead} phantoms; pass --images and --contours to check on "
            "other real slices",
        )
    return found


def calibration_slices(run: TrainedRun, folder: Path | None) -> list[Slice]:
    """Return slices of the training: from a folder of DICOM files, or else those that the run recorded.

    Raises:
        OptionError: If there is none.
    """
    if folder is None:
        slices = [image.slice for image in _images(run, _spread(run.record.training))]
        where = f"the run's training slices are not in {run.record.options.images} any more"
    else:
        slices = [slice_ for path in _spread(find_dicom([folder])) if (slice_ := _read(path)) is not None]
        where = f"{folder} holds no DICOM slice that can be read"
    if not slices:
        raise OptionError(
            f"{where}: name a folder of slices like those trained on with --calibrate",
            reason="NO_CALIBRATION",
            field="--calibrate",
        )
    return slices


def _spread(all_of_them: Sequence[_Any]) -> list[_Any]:
    count = min(len(all_of_them), CALIBRATION_SLICES)
    return [all_of_them[at] for at in np.linspace(0, len(all_of_them) - 1, count).round().astype(int)]


def _read(path: Path) -> Slice | None:
    try:
        return read_slice(path)
    except DicomError as error:
        notice(f"left out: {error}")
        return None


def _images(run: TrainedRun, names: Sequence[str]) -> list[LabelledImage]:
    """Return the images of a run that are still where they were."""
    options, wanted = run.record.options, set(names)
    try:
        samples = index_labels(
            Path(options.images), Path(options.contours), options.label_format, label=options.label
        ).samples
    except DatasetError:
        return []
    return [sample.load() for sample in samples if sample.name in wanted]
