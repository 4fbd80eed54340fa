"""One training, from folders of images and contours to a run folder."""

import logging
import statistics
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning import Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from lvseg.cli import notice, progress
from lvseg.data.dataset import EpochSampler, TrainingWindows
from lvseg.data.split import Split, choose_split
from lvseg.data.sunnybrook import LabelledImage, index_sunnybrook, load_all
from lvseg.errors import OperationError, RunError
from lvseg.models import build_model
from lvseg.train.callbacks import AveragedWeights, MetricsFile, ProgressDisplay, ScoresInCheckpoint
from lvseg.train.options import RunRecord, TrainOptions, package_versions
from lvseg.train.run import BEST, LAST, METRICS, TrainedRun, load_run
from lvseg.train.task import SegmentationTask


def load_split(options: TrainOptions) -> Split[LabelledImage]:
    """Find, decode and split the data that the options name; contours left out are named on standard error.

    Raises:
        DatasetError: If the folders give no usable data, or a side of the split is empty.
        OptionError: If the options name no split, or a patient that is not there.
    """
    index = index_sunnybrook(Path(options.images), Path(options.contours), strict=options.strict)
    split = choose_split(index.samples, options.validate, options.validation_percent, seed=options.seed)
    with progress() as display:
        training = load_all(split.training, display, strict=options.strict)
        validation = load_all(split.validation, display, strict=options.strict)
    for problem in (*index.problems, *training.problems, *validation.problems):
        notice(f"left out: {problem.message}")
    return Split(training.images, validation.images)


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
    """Create a run folder that records what the options came to on the data."""
    spacings = [statistics.fmean(image.slice.pixel_spacing) for image in data.training]
    record = RunRecord(
        options=options,
        working_spacing_mm=options.working_spacing_mm or round(statistics.median(spacings), 4),
        training=[image.name for image in data.training],
        validation=[image.name for image in data.validation],
        versions=package_versions(),
    )
    (folder / BEST.parent).mkdir(parents=True, exist_ok=True)
    record.write(folder)
    return record


def fit(folder: Path, record: RunRecord, data: Split[LabelledImage]) -> TrainedRun:
    """Train in a run folder, from its last checkpoint if it has one, and return the best model."""
    options = record.options
    seed_everything(options.seed, verbose=False)
    task = SegmentationTask(
        build_model(options.model, options.network),
        options,
        working_spacing_mm=record.working_spacing_mm,
        validation=data.validation,
    )
    windows = TrainingWindows(
        data.training,
        working_spacing_mm=record.working_spacing_mm,
        augmentation=options.augmentation,
        seed=options.seed,
    )
    training = DataLoader(
        windows,
        batch_size=options.batch_size,
        sampler=EpochSampler(len(windows), seed=options.seed),
        num_workers=options.workers,
        persistent_workers=options.workers > 0,
    )
    validation: DataLoader[tuple[Tensor, ...]] = DataLoader(
        TensorDataset(torch.arange(len(data.validation))), batch_size=None
    )
    last = folder / LAST
    with _quiet_lightning():
        trainer = _trainer(folder, options)
        try:
            trainer.fit(
                task, training, validation, ckpt_path=last if last.is_file() else None, weights_only=True
            )
        except SystemExit as error:  # Lightning's answer to Ctrl-C
            raise OperationError(f"interrupted; go on with: lvseg-train --resume {folder}") from error
    return load_run(folder)


def _trainer(folder: Path, options: TrainOptions) -> Trainer:
    checkpoints = folder / BEST.parent
    best = ModelCheckpoint(
        checkpoints, BEST.stem, monitor="val_dice", mode="max", enable_version_counter=False
    )
    last = ModelCheckpoint(
        checkpoints, LAST.stem, every_n_epochs=1, save_on_train_epoch_end=True, enable_version_counter=False
    )
    callbacks = [AveragedWeights(), MetricsFile(folder / METRICS), ScoresInCheckpoint(), ProgressDisplay()]
    return Trainer(
        max_epochs=options.epochs,
        precision=options.precision,  # type: ignore[arg-type]
        check_val_every_n_epoch=options.validation_interval,
        callbacks=[*callbacks, best, last],
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        log_every_n_steps=1,
        num_sanity_val_steps=0,
        enable_progress_bar=False,
        enable_model_summary=False,
        deterministic="warn",
    )


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advertisements and hints from a user who cannot act on them."""
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step.*")
            warnings.filterwarnings("ignore", message=".*is not empty.*", category=UserWarning)
            yield
    finally:
        logger.setLevel(level)
