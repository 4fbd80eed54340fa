"""The run folder: where things lie in it, and how a trained model is read back."""

import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from lvseg.errors import RunError
from lvseg.models import SegmentationModel, build_model
from lvseg.train.options import RunRecord

BEST = Path("checkpoints/best.ckpt")
LAST = Path("checkpoints/last.ckpt")
METRICS = Path("metrics.csv")

Checkpoint: TypeAlias = Literal["best", "last"]
"""The checkpoint of the best validation Dice, or that of the last epoch."""

_FILES: dict[Checkpoint, Path] = {"best": BEST, "last": LAST}


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A training's outcome: its record and the model of one of its checkpoints, in evaluation mode."""

    folder: Path
    record: RunRecord
    model: SegmentationModel
    epoch: int
    """Epoch of the checkpoint, from 1."""
    val_dice: float
    """Of the checkpoint's epoch or, where that was not validated, of the last that was."""
    val_accuracy: float
    """Likewise."""


def load_run(folder: Path, checkpoint: Checkpoint = "best") -> TrainedRun:
    """Read a model of a run with the weights that validation judges.

    They are the moving average, or the weights as they are in a run whose ``averaged_steps`` is 0.
    No code of the checkpoint is executed.

    Raises:
        RunError: If the folder is not a run, has no checkpoint yet, or the checkpoint is broken.
    """
    record = RunRecord.read(folder)
    path = checkpoint_path(folder, checkpoint)
    if not path.is_file():
        raise _not_validated(folder, f"{folder} has no {path.relative_to(folder)}")
    model = build_model(record.options.model, record.options.network)
    prefix = "model."
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        weights = {
            name.removeprefix(prefix): value
            for name, value in content["state_dict"].items()
            if name.startswith(prefix)
        }
        model.load_state_dict(weights)
        scores = content["lvseg_scores"]
        if "val_dice" not in scores:
            raise _not_validated(folder, f"{path} holds no scores")
        epoch, val_dice, val_accuracy = scores["epoch"], scores["val_dice"], scores["val_accuracy"]
    except (
        RuntimeError,
        KeyError,
        TypeError,
        AttributeError,
        EOFError,
        OSError,
        pickle.UnpicklingError,
    ) as error:
        raise RunError(
            f"{path} is not a checkpoint of {record.options.model} as {folder} records it; train again",
            reason="BROKEN_CHECKPOINT",
        ) from error
    return TrainedRun(
        folder=folder,
        record=record,
        model=model.eval(),
        epoch=epoch,
        val_dice=val_dice,
        val_accuracy=val_accuracy,
    )


def checkpoint_path(folder: Path, checkpoint: Checkpoint) -> Path:
    """Return where a run's checkpoint lies."""
    return folder / _FILES[checkpoint]


def _not_validated(folder: Path, found: str) -> RunError:
    return RunError(
        f"{found}: no validation has ended yet; finish it with lvseg-train --resume {folder}",
        reason="NO_CHECKPOINT",
    )
