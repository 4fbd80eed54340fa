"""What happens beside the training itself: the metrics file and the progress display."""

import csv
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from rich.progress import Progress, TaskID
from torch import Tensor

from lvseg.cli import progress

COLUMNS = ("epoch", "train_loss", "val_accuracy", "val_dice", "learning_rate", "seconds")


class MetricsFile(Callback):
    """Write a row an epoch to ``metrics.csv``; validation columns are empty where none took place.

    A resumed training keeps the rows up to its checkpoint, so that no epoch stands twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Keep the header and the rows of finished epochs."""
        if not trainer.is_global_zero:
            return
        rows = read_metrics(self._path) if self._path.exists() else []
        kept = [row for row in rows if int(row["epoch"]) <= trainer.current_epoch]
        with self._path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, COLUMNS)
            writer.writeheader()
            writer.writerows(kept)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Start the epoch's clock."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Append the epoch's row."""
        if not trainer.is_global_zero:
            return
        validated = validated_this_epoch(trainer)
        metrics = trainer.callback_metrics
        row = {
            "epoch": trainer.current_epoch + 1,
            "train_loss": f"{metrics['train_loss']:.6f}",
            "val_accuracy": f"{metrics['val_accuracy']:.6f}" if validated else "",
            "val_dice": f"{metrics['val_dice']:.6f}" if validated else "",
            "learning_rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.3e}",
            "seconds": f"{time.perf_counter() - self._started:.2f}",
        }
        with self._path.open("a", newline="") as stream:
            csv.DictWriter(stream, COLUMNS).writerow(row)


def read_metrics(path: Path) -> Sequence[dict[str, str]]:
    """Return the rows of a ``metrics.csv``."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def validated_this_epoch(trainer: Trainer) -> bool:
    """Tell whether the epoch that is ending has been validated."""
    interval = trainer.check_val_every_n_epoch or 1
    return (trainer.current_epoch + 1) % interval == 0


class AveragedWeights(WeightAveraging):
    """Validate and keep the exponential moving average of the weights over about the last 100 steps.

    At a high rate the weights jump about; their average does not, and is the better model.
    """

    def __init__(self) -> None:
        super().__init__(avg_fn=_moving_average)


def _moving_average(averaged: Tensor, current: Tensor, steps: Tensor | int) -> Tensor:
    # The first steps count less, so that a short training is not judged by its random start.
    decay = min(0.99, (1 + float(steps)) / (10 + float(steps)))
    return averaged * decay + current * (1 - decay)


class ScoresInCheckpoint(Callback):
    """Keep the validation's scores beside the weights they belong to, as plain numbers."""

    def on_save_checkpoint(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Add the scores to a checkpoint."""
        scores = {
            name: float(value)
            for name, value in trainer.callback_metrics.items()
            if name.startswith("val_") and isinstance(value, torch.Tensor)
        }
        checkpoint["lvseg_scores"] = {"epoch": trainer.current_epoch + 1, **scores}


class ProgressDisplay(Callback):
    """Show a bar over the epochs, and a line for each validation."""

    def __init__(self) -> None:
        self._display: Progress | None = None
        self._task = TaskID(0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Open the display."""
        self._display = progress()
        self._task = self._display.add_task(
            "training", total=trainer.max_epochs, completed=trainer.current_epoch
        )
        self._display.start()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Advance the bar; print the scores of a validation."""
        if self._display is None:
            return
        metrics = trainer.callback_metrics
        self._display.update(self._task, advance=1, description=f"training, loss {metrics['train_loss']:.3f}")
        if validated_this_epoch(trainer):
            self._display.console.print(
                f"epoch {trainer.current_epoch + 1:4d}/{trainer.max_epochs}"
                f"  train_loss {metrics['train_loss']:.4f}"
                f"  val_accuracy {metrics['val_accuracy']:.4f}"
                f"  val_dice {metrics['val_dice']:.4f}",
                highlight=False,
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Close the display, after an error too."""
        if self._display is not None:
            self._display.stop()
            self._display = None
