"""One training, from folders of images and contours to a run folder."""

import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning import Callback, seed_everything
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from lvseg.cli import notice, progress
from lvseg.data.dataset import EpochSampler, TrainingWindows
from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sources import index_labels
from lvseg.data.split import Split, check_patients_apart, choose_split, leave_none_out
from lvseg.errors import OperationError, RunError
from lvseg.folders import new_folder
from lvseg.models import build_model
from lvseg.train.callbacks import (
    AveragedWeights,
    CompiledNetwork,
    EndWithoutGain,
    FiniteTraining,
    MetricsFile,
    ProgressDisplay,
    ReproducibleDropout,
)
from lvseg.train.checkpoints import RunCheckpoints, WholeCheckpoints, check_last
from lvseg.train.history import ValidationHistory
from lvseg.train.options import OPTIONS_FILE, RunRecord, TrainOptions, package_versions
from lvseg.train.processes import loading_processes, new_trainer, only_first, quiet_lightning, rank
from lvseg.train.run import LAST, METRICS, TrainedRun, load_run
from lvseg.train.start import starting_model
from lvseg.train.task import SegmentationTask
from lvseg.whole_files import remove_unfinished


def load_images(options: TrainOptions) -> Sequence[LabelledImage]:
    """Find and decode the data that the options name; labels left out are named on standard error.

    Raises:
        DatasetError: If the folders give no usable data.
    """
    index = index_labels(
        Path(options.images),
        Path(options.contours),
        options.label_format,
        label=options.label,
        strict=options.strict,
    )
    with progress() as display:
        loaded = load_all(index.samples, display, strict=options.strict)
    for problem in (*index.problems, *loaded.problems):
        notice(f"left out: {problem.message}")
    return loaded.images


def split_images(images: Sequence[LabelledImage], options: TrainOptions) -> Split[LabelledImage]:
    """Divide the data as the options ask.

    Raises:
        DatasetError: If a side of the split is empty.
        OptionError: If the options name no split, or a patient that is not there.
    """
    if options.leave_none_out:
        return leave_none_out(images)
    split = choose_split(images, options.validate, options.validation_percent, seed=options.seed)
    if options.validate:
        check_patients_apart(split)
    return split


def check_same_slices(record: RunRecord, data: Split[LabelledImage]) -> None:
    """Check that a run to be resumed finds the slices that it began with, on the same sides.

    Raises:
        RunError: If the folders hold others today.
    """
    for side, began_with in (("training", record.training), ("validation", record.validation)):
        differing = set(began_with) ^ {image.name for image in getattr(data, side)}
        if differing:
            raise RunError(
                f"{record.options.images} and {record.options.contours} do not hold the {side} slices that the run "
                f"began with ({len(differing)} differ); put them back or start a new run",
                reason="OTHER_DATA",
            )


def start_run(folder: Path, options: TrainOptions, data: Split[LabelledImage]) -> RunRecord:
    """Create a run folder that records what the options came to on the data.

    Raises:
        OptionError: If the folder holds something.
    """
    spacings = [statistics.fmean(image.slice.pixel_spacing) for image in data.training]
    record = RunRecord(
        options=options,
        working_spacing_mm=options.working_spacing_mm or round(statistics.median(spacings), 4),
        training=[image.name for image in data.training],
        validation=[image.name for image in data.validation],
        versions=package_versions(),
    )
    with new_folder(folder, signature=OPTIONS_FILE) as staging:
        record.write(staging)
    return record


def fit(folder: Path, record: RunRecord, data: Split[LabelledImage]) -> TrainedRun:
    """Train in a run folder, from its last checkpoint if it has one, and return the best model.

    Killed at any moment and called again, it ends with the metrics and the weights of a training that was not:
    all that is random is a function of seed, epoch, batch and sample, and files are written whole.

    Raises:
        RunError: If its last checkpoint is broken.
        OperationError: If it was interrupted, its loss is no number any more, a file could not be written, or a
            loading process died. What was written before is as it was.
    """
    options = record.options
    processes = options.devices * options.nodes
    seed_everything(options.seed, verbose=False)
    last = folder / LAST
    resuming = only_first(last.is_file)
    task = SegmentationTask(
        build_model(options.model, options.network) if resuming else starting_model(options),
        options,
        working_spacing_mm=record.working_spacing_mm,
        validation=data.validation,
    )
    if resuming:
        check_last(folder, task.state_dict())
    training, sampler = _training_batches(record, data.training)
    shared: Dataset[tuple[Tensor, ...]] = TensorDataset(torch.arange(rank(), len(data.validation), processes))
    validation: DataLoader[tuple[Tensor, ...]] = DataLoader(shared, batch_size=None)
    if rank() == 0:
        last.parent.mkdir(exist_ok=True)
        remove_unfinished(folder)
        remove_unfinished(folder / LAST.parent)
    # With deterministic algorithms torch fills all memory that it takes, for who reads before writing: not us.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    with quiet_lightning(), _one_line_failures(folder):
        trainer = new_trainer(
            options,
            max_epochs=options.epochs,
            precision=options.precision,
            accumulate_grad_batches=options.accumulate,
            check_val_every_n_epoch=options.validation_interval,
            callbacks=_callbacks(folder, options, data, task, sampler),
            plugins=[WholeCheckpoints()],
            logger=TensorBoardLogger(folder, name="", version="tensorboard"),
            log_every_n_steps=1,
            num_sanity_val_steps=0,
            enable_progress_bar=False,
            enable_model_summary=False,
            deterministic="warn",
        )
        trainer.fit(task, training, validation, ckpt_path=last if resuming else None, weights_only=True)
    return load_run(folder)


def _training_batches(
    record: RunRecord, images: Sequence[LabelledImage]
) -> tuple[DataLoader[tuple[Tensor, Tensor]], EpochSampler]:
    options = record.options
    processes = options.devices * options.nodes
    windows = TrainingWindows(
        images,
        working_spacing_mm=record.working_spacing_mm,
        network=options.network,
        augmentation=options.augmentation,
        seed=options.seed,
    )
    sampler = EpochSampler(
        len(windows), seed=options.seed, batch_size=options.batch_size, processes=processes, rank=rank()
    )
    workers = loading_processes(options)
    loader = DataLoader(
        windows,
        batch_size=options.batch_size // processes,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
    )
    return loader, sampler


def _callbacks(
    folder: Path,
    options: TrainOptions,
    data: Split[LabelledImage],
    task: SegmentationTask,
    sampler: EpochSampler,
) -> Sequence[Callback]:
    callbacks: list[Callback] = [
        ReproducibleDropout(options.seed),
        FiniteTraining(sampler, [image.name for image in data.training], folder),
        MetricsFile(folder / METRICS),
        ProgressDisplay(),
        ValidationHistory(folder, data.validation),
        RunCheckpoints(folder, sampler, snapshot_interval=options.snapshot_interval),
    ]
    if options.averaged_steps:
        callbacks.insert(0, AveragedWeights(options.averaged_steps))
    if options.early_stopping is not None:
        callbacks.append(EndWithoutGain(options.early_stopping))
    if options.compile:
        callbacks.append(CompiledNetwork(task.model.network))
    return callbacks


@contextmanager
def _one_line_failures(folder: Path) -> Iterator[None]:
    """Turn what can befall any training into errors that say how to go on."""
    go_on = f"go on with: lvseg-train --resume {folder}"
    try:
        yield
    except SystemExit as error:  # Lightning's answer to Ctrl-C and SIGTERM
        raise OperationError(f"interrupted; {go_on}") from error
    except OSError as error:
        free = shutil.disk_usage(folder).free
        raise OperationError(
            f"{error.filename or folder} could not be written ({error.strerror or error}; {free / 1e6:.1f} MB are "
            f"free); what was written before is as it was; see to it, then {go_on}"
        ) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise OperationError(
            f"a loading process died ({str(error).splitlines()[0]}), often for want of memory; free some, then "
            f"{go_on}"
        ) from error
