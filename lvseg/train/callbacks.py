"""What happens beside the training itself: the metrics file, the averaged weights, the checks and the display."""

import csv
import io
import math
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EarlyStopping, WeightAveraging
from rich.progress import Progress, TaskID
from torch import Tensor

from lvseg.cli import notice, progress
from lvseg.data.dataset import EpochSampler
from lvseg.errors import OperationError
from lvseg.train.run import LAST
from lvseg.whole_files import whole_file

COLUMNS = ("epoch", "train_loss", "val_accuracy", "val_dice", "learning_rate", "seconds")


class MetricsFile(Callback):
    """Write a row an epoch to ``metrics.csv``; validation columns are empty where none took place.

    The seconds are those since the last row, so with all that happens beside the training itself.

    A resumed training keeps the rows up to its checkpoint, so that no epoch stands twice.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[dict[str, str]] = []
        self._started = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Keep the rows of finished epochs."""
        rows = read_metrics(self._path) if self._path.exists() else []
        self._rows = list(rows[: trainer.current_epoch])
        self._started = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Add the epoch's row."""
        validated = validated_this_epoch(trainer)
        metrics = trainer.callback_metrics
        row = {
            "epoch": str(trainer.current_epoch + 1),
            "train_loss": f"{metrics['train_loss']:.6f}",
            "val_accuracy": f"{metrics['val_accuracy']:.6f}" if validated else "",
            "val_dice": f"{metrics['val_dice']:.6f}" if validated else "",
            "learning_rate": f"{trainer.optimizers[0].param_groups[0]['lr']:.3e}",
            "seconds": f"{time.perf_counter() - self._started:.2f}",
        }
        self._started = time.perf_counter()
        self._rows.append(row)
        if trainer.is_global_zero:
            text = io.StringIO(newline="")
            writer = csv.DictWriter(text, COLUMNS)
            writer.writeheader()
            writer.writerows(self._rows)
            with whole_file(self._path) as stream:
                stream.write(text.getvalue().encode())


def read_metrics(path: Path) -> Sequence[dict[str, str]]:
    """Return the rows of a ``metrics.csv``."""
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def validated_this_epoch(trainer: Trainer) -> bool:
    """Tell whether the epoch that is ending has been validated."""
    interval = trainer.check_val_every_n_epoch or 1
    return (trainer.current_epoch + 1) % interval == 0


class AveragedWeights(WeightAveraging):
    """Validate and keep the exponential moving average of the weights.

    At a high rate the weights jump about; their average does not, and is the better model.

    Args:
        steps: About how many of the last steps count.
    """

    def __init__(self, steps: int) -> None:
        self._decay = 1 - 1 / steps
        super().__init__(multi_avg_fn=self._average)

    def _average(self, averaged: list[Tensor], current: list[Tensor], steps: Tensor | int) -> None:
        # The first steps count less, so that a short training is not judged by its random start.
        decay = min(self._decay, (1 + float(steps)) / (10 + float(steps)))
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(averaged, current, 1 - decay)
        else:  # counters
            torch._foreach_copy_(averaged, current)


class ReproducibleDropout(Callback):
    """Let what is drawn at random within the network depend on seed, epoch, batch and process alone.

    A resumed training then draws what it would have drawn: no checkpoint holds a generator's state.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def on_train_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Seed the batch."""
        key = (self._seed, trainer.current_epoch, batch_idx, trainer.global_rank)
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
        # Not torch.manual_seed: it puts a call and its stack aside for every kind of device there could be.
        torch.default_generator.manual_seed(seed)
        if pl_module.device.type == "cuda":
            torch.cuda.manual_seed(seed)


class CompiledNetwork(Callback):
    """Compile the network for training; validation, whose slices have many sizes, runs it as it is.

    Args:
        network: The network; it stays the same module, with the same names in checkpoints.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self._network = network

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Compile, when the first batch comes."""
        self._network.compile()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Put the compiled network aside."""
        torch.compiler.set_stance("force_eager")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Take it up again."""
        torch.compiler.set_stance("default")


class FiniteTraining(Callback):
    """End a training whose loss or output is no number any more, before a checkpoint of that epoch is written.

    Args:
        sampler: Of the training.
        names: Of its slices.
        folder: The run folder.
    """

    def __init__(self, sampler: EpochSampler, names: Sequence[str], folder: Path) -> None:
        self._sampler = sampler
        self._names = names
        self._folder = folder

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Check the loss, and at an epoch's last batch what its step has made of the network.

        Raises:
            OperationError: If they are not finite; the message names the slices of the batch.
        """
        loss = float(outputs["loss"])
        if not math.isfinite(loss):
            found = f"the loss is {loss} in"
        elif trainer.is_last_batch and not _sound(trainer, pl_module, batch[0][:1]):
            found = "the weights are of no use after"
        else:
            return
        samples = next(islice(self._sampler.batches(), batch_idx, None))
        before = (self._folder / LAST).is_file()
        kept = "the checkpoints before it are kept" if before else "there is no checkpoint yet"
        raise OperationError(
            f"{found} epoch {trainer.current_epoch + 1}, batch {batch_idx + 1} ({self._listed(samples)}); {kept}; "
            "look at these slices, or start anew at a lower rate: "
            f"lvseg-train --like {self._folder} --learning-rate RATE --out NEW"
        )

    def _listed(self, samples: Sequence[int], most: int = 8) -> str:
        names = ", ".join(self._names[sample] for sample in samples[:most])
        return names + (f" and {len(samples) - most} more" if len(samples) > most else "")


def _sound(trainer: Trainer, module: LightningModule, window: Tensor) -> bool:
    """Tell whether all weights are finite, and what the network makes of a window with them."""
    # Sums are quick, and one that overflows tells of weights that are of no use either.
    sums = [value.sum() for value in module.state_dict().values() if value.is_floating_point()]
    sound = bool(torch.isfinite(torch.stack(sums)).all())
    module.eval()
    with torch.no_grad():
        # Not by a call, which would compile it once more where it is compiled.
        sound = sound and bool(torch.isfinite(module.model.network.forward(window)).all())  # type: ignore[union-attr]
    module.train()
    return trainer.strategy.reduce_boolean_decision(sound)


class EndWithoutGain(EarlyStopping):
    """End the training after some validations without a better Dice, and say so.

    Args:
        validations: How many.
    """

    def __init__(self, validations: int) -> None:
        super().__init__("val_dice", mode="max", patience=validations, check_on_train_epoch_end=False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """End a training at once that had ended so when it was killed."""
        trainer.should_stop = self.wait_count >= self.patience

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say at which epoch it ended and why."""
        if self.wait_count >= self.patience:
            notice(
                f"ended after epoch {trainer.current_epoch}: {self.wait_count} validations without a better Dice "
                f"than {float(self.best_score):.4f}"
            )


class ProgressDisplay(Callback):
    """Show a bar over the epochs with batch, loss, last Dice and time left, and a line for each validation.

    The bar moves with every batch, and is drawn as often as rich draws, some ten times a second.
    """

    def __init__(self) -> None:
        self._display: Progress | None = None
        self._task = TaskID(0)
        self._started = 0.0
        self._first_epoch = 0
        self._losses = 0.0
        self._dice = ""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Open the display."""
        if not trainer.is_global_zero:
            return
        self._started, self._first_epoch = time.monotonic(), trainer.current_epoch
        self._display = progress()
        if trainer.current_epoch:
            self._display.console.print(f"going on after epoch {trainer.current_epoch}", highlight=False)
        self._task = self._display.add_task(
            "training", total=trainer.max_epochs, completed=trainer.current_epoch
        )
        self._display.start()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Begin the epoch's mean loss."""
        self._losses = 0.0

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        batch: Any,  # noqa: ARG002
        batch_idx: int,
    ) -> None:
        """Move the bar; the loss is the mean of the epoch's batches until now."""
        if self._display is None:
            return
        # Lightning gives a batch its share of the step's loss.
        self._losses += float(outputs["loss"]) * trainer.accumulate_grad_batches
        batches = int(trainer.num_training_batches)
        self._show(
            trainer,
            f"batch {batch_idx + 1}/{batches}, loss {self._losses / (batch_idx + 1):.3f}",
            trainer.current_epoch + (batch_idx + 1) / batches,
        )

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Say what takes the time."""
        self._show(trainer, "validating", trainer.current_epoch + 1)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Print the scores of a validation."""
        if self._display is None or not validated_this_epoch(trainer):
            return
        metrics = trainer.callback_metrics
        epoch = trainer.current_epoch + 1
        self._dice = f", Dice {metrics['val_dice']:.3f}"
        self._display.console.print(
            f"epoch {epoch:4d}/{trainer.max_epochs}"
            f"  train_loss {metrics['train_loss']:.4f}"
            f"  val_accuracy {metrics['val_accuracy']:.4f}"
            f"  val_dice {metrics['val_dice']:.4f}"
            f"  {self._left(trainer, epoch)} left",
            highlight=False,
            soft_wrap=True,
        )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Close the display, after an error too."""
        if self._display is not None:
            self._display.stop()
            self._display = None

    def _show(self, trainer: Trainer, doing: str, done: float) -> None:
        if self._display is not None:
            description = f"epoch {trainer.current_epoch + 1}, {doing}{self._dice}"
            self._display.update(
                self._task,
                completed=done,
                description=f"{description}, {self._left(trainer, done)} left",
            )

    def _left(self, trainer: Trainer, done: float) -> str:
        """Return the time that the epochs beyond ``done`` take, if they take as long as those of this start."""
        each = (time.monotonic() - self._started) / (done - self._first_epoch)
        return duration(each * ((trainer.max_epochs or 0) - done))


def duration(seconds: float) -> str:
    """Return a duration as a person says it: ``"40 s"``, ``"7 min"``, ``"2 h 05 min"``."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60:02d} min"
