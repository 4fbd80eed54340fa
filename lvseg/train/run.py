"""The run folder: where things lie in it, and how a trained model is read back."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch

from lvseg.errors import RunError
from lvseg.models import SegmentationModel, build_model
from lvseg.train.options import RunRecord

BEST = Path("checkpoints/best.ckpt")
LAST = Path("checkpoints/last.ckpt")
METRICS = Path("metrics.csv")


@dataclass(frozen=True, kw_only=True)
class TrainedRun:
    """A training's outcome: its record and the model of the best validation Dice, in evaluation mode."""

    folder: Path
    record: RunRecord
    model: SegmentationModel
    epoch: int
    """Epoch of the best validation Dice, from 1."""
    val_dice: float
    val_accuracy: float


def load_run(folder: Path) -> TrainedRun:
    """Read the best model of a run. No code of the checkpoint is executed.

    Raises:
        RunError: If the folder is not a run, has no checkpoint yet, or the checkpoint is broken.
    """
    record = RunRecord.read(folder)
    path = folder / BEST
    if not path.is_file():
        raise RunError(
            f"{folder} has no {BEST}: no validation has ended yet; finish it with lvseg-train --resume {folder}",
            reason="NO_CHECKPOINT",
        )
    model = build_model(record.options.model, record.options.network)
    prefix = "model."
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
        weights = {
            name.removeprefix(prefix): value
            for name, value in checkpoint["state_dict"].items()
            if name.startswith(prefix)
        }
        model.load_state_dict(weights)
        scores = checkpoint["lvseg_scores"]
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
