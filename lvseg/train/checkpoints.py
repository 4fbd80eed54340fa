"""The checkpoints of a run: the last, the best and the snapshots, consistent whenever the training ends."""

import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins import TorchCheckpointIO
from torch import Tensor

from lvseg.data.dataset import EpochSampler
from lvseg.errors import RunError
from lvseg.train.callbacks import validated_this_epoch
from lvseg.train.run import BEST, LAST
from lvseg.whole_files import same_content, whole_file


class WholeCheckpoints(TorchCheckpointIO):
    """Write a checkpoint in one piece: after a crash or an error the one before it is still there."""

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ARG002 - of the interface
    ) -> None:
        """Write a checkpoint.

        Raises:
            OSError: If it cannot be written; the error names ``path``.
        """
        with whole_file(Path(path)) as stream:
            _save(checkpoint, stream)


def _save(checkpoint: dict[str, Any], stream: IO[bytes]) -> None:
    try:
        torch.save(checkpoint, stream)
    except RuntimeError as error:
        # What the stream raised, or was interrupted by, torch hides behind an error of its own about its archive.
        if isinstance(error.__context__, (OSError, KeyboardInterrupt)):
            raise error.__context__ from error
        raise


_NEEDED = frozenset(
    {"epoch", "state_dict", "optimizer_states", "lr_schedulers", "callbacks", "loops", "lvseg_scores"}
)


def check_last(folder: Path, weights: Mapping[str, Tensor]) -> None:
    """Check that a training can go on from a run's ``last.ckpt``; the values of its weights are not looked at.

    Args:
        folder: The run folder.
        weights: What the training's own weights are like.

    Raises:
        RunError: If it is broken or another training's; the message names what can be trained from instead.
    """
    last = folder / LAST
    if _can_go_on(last, weights):
        return
    snapshots = sorted(last.parent.glob("epoch-*.ckpt"), reverse=True)
    whole = next((path for path in (folder / BEST, *snapshots) if _can_go_on(path, weights)), None)
    raise RunError(
        f"{last} is broken, or no checkpoint of this training; train anew with: lvseg-train --like {folder} --out "
        f"OTHER{'' if whole is None else f' --pretrained {whole}, which starts from the weights saved there'}",
        reason="BROKEN_CHECKPOINT",
    )


def _can_go_on(path: Path, weights: Mapping[str, Tensor]) -> bool:
    if not path.is_file():
        return False
    try:
        # Mapped, so that no more is read than what the file says of itself.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        shapes = {name: value.shape for name, value in content["state_dict"].items()}
    except (
        RuntimeError,
        EOFError,
        OSError,
        KeyError,
        TypeError,
        ValueError,
        AttributeError,
        pickle.UnpicklingError,
    ):
        return False
    return content.keys() >= _NEEDED and shapes == {name: value.shape for name, value in weights.items()}


_SHARE = 1 / 100  # of the time, that checkpoints of epochs without a validation may take


class RunCheckpoints(Checkpoint):
    """Write ``last.ckpt``, and let ``best.ckpt`` and the snapshots be names of what it was.

    It is written after every epoch that is validated, kept or the last; after others where the time that
    it takes is small against the time since it was written.

    So a training that is killed between two of them loses nothing: ``last.ckpt`` knows which others it is, and
    a resumed training sees to it. Beside the weights stand the scores of the last validation, as plain numbers.

    Args:
        folder: The run folder.
        sampler: Of the training; it is told the epoch that a resumed training goes on with.
        snapshot_interval: Epochs between two checkpoints that are kept for good.
    """

    def __init__(self, folder: Path, sampler: EpochSampler, *, snapshot_interval: int | None) -> None:
        self._folder = folder
        self._sampler = sampler
        self._snapshot_interval = snapshot_interval
        self._scores: dict[str, float] = {}
        self._best_dice = float("-inf")
        self._best_epoch = 0
        self._written = 0.0
        self._cost = 0.0

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write the epoch's checkpoint, where it is to have one."""
        epoch = trainer.current_epoch + 1
        if validated_this_epoch(trainer):
            names = ("val_dice", "val_accuracy")
            self._scores = {name: float(trainer.callback_metrics[name]) for name in names}
            if self._scores["val_dice"] > self._best_dice:
                self._best_dice, self._best_epoch = self._scores["val_dice"], epoch
        if self._due(trainer, epoch):
            started = time.monotonic()
            trainer.save_checkpoint(self._folder / LAST)
            self._name(trainer, epoch)
            self._written = time.monotonic()
            self._cost = self._written - started

    def _due(self, trainer: Trainer, epoch: int) -> bool:
        wanted = validated_this_epoch(trainer) or self._is_snapshot(epoch) or epoch == trainer.max_epochs
        affordable = time.monotonic() - self._written > self._cost / _SHARE
        # The clocks of several processes differ, and all of them have to take part.
        return wanted or trainer.strategy.broadcast(affordable)

    def _is_snapshot(self, epoch: int) -> bool:
        return self._snapshot_interval is not None and epoch % self._snapshot_interval == 0

    def on_save_checkpoint(
        self,
        trainer: Trainer,
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Add the scores to a checkpoint."""
        checkpoint["lvseg_scores"] = {"epoch": trainer.current_epoch + 1, **self._scores}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed training has to know."""
        return {"scores": self._scores, "best_dice": self._best_dice, "best_epoch": self._best_epoch}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state of the checkpoint that the training goes on from."""
        self._scores = state_dict["scores"]
        self._best_dice, self._best_epoch = state_dict["best_dice"], state_dict["best_epoch"]

    def on_load_checkpoint(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        checkpoint: dict[str, Any],
    ) -> None:
        """Choose the epoch that comes next, before a loading process asks for its first batch."""
        self._sampler.set_epoch(cast("int", checkpoint["epoch"]) + 1)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """See to the names that a killed training had no time for."""
        if trainer.ckpt_path is not None:
            self._name(trainer, self._sampler.epoch)

    def _name(self, trainer: Trainer, epoch: int) -> None:
        if trainer.is_global_zero:
            last = self._folder / LAST
            if self._best_epoch == epoch:
                same_content(last, self._folder / BEST)
            if self._is_snapshot(epoch):
                same_content(last, last.with_name(f"epoch-{epoch:04d}.ckpt"))
        trainer.strategy.barrier()
