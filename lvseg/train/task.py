"""The training task: windows in, whole slices judged."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor

from lvseg.data.sunnybrook import LabelledImage
from lvseg.metrics import dice
from lvseg.models import SegmentationModel
from lvseg.train.loss import new_loss
from lvseg.train.options import TrainOptions
from lvseg.train.predict import predict_mask
from lvseg.train.processes import whole_batch
from lvseg.train.solver import new_policy, new_solver


class SegmentationTask(LightningModule):
    """The recipe's loss on windows; pixel accuracy and Dice on whole slices.

    Args:
        model: The model to train.
        options: The run's options.
        working_spacing_mm: Pixel spacing that the model sees.
        validation: Slices to validate on, each on its own grid and whole.
    """

    def __init__(
        self,
        model: SegmentationModel,
        options: TrainOptions,
        *,
        working_spacing_mm: float,
        validation: Sequence[LabelledImage],
    ) -> None:
        super().__init__()
        # Several times faster on CPUs, and what GPUs with tensor cores want.
        self.model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._options = options
        self._working_spacing_mm = working_spacing_mm
        self._validation = validation
        self._loss = new_loss(options)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of windows (N, 1, S, S), already normalised, and their labels."""
        windows, labels = batch
        logits = self.model.network(windows.contiguous(memory_format=torch.channels_last))
        length = self._batch_length(batch_index, len(windows))
        loss: Tensor = self._loss(whole_batch(logits, length), whole_batch(labels, length))
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=length, sync_dist=True)
        return loss

    def _batch_length(self, batch_index: int, part: int) -> int:
        """Return the windows that a batch holds over all processes, without those that fill up the last."""
        if self.trainer.world_size == 1:
            return part
        samples = len(self.trainer.train_dataloader.dataset)  # type: ignore[union-attr]
        return min(self._options.batch_size, samples - batch_index * self._options.batch_size)

    def validation_step(self, batch: tuple[Tensor]) -> dict[str, Any]:
        """Judge the validation slice of this index as a server would segment it; callbacks get its mask."""
        index = int(batch[0])
        image = self._validation[index]
        mask = predict_mask(self.model, image.slice, self._working_spacing_mm)
        scores = {"val_accuracy": float(np.mean(mask == image.mask)), "val_dice": dice(mask, image.mask)}
        # Lightning averages the processes' counts in whole numbers: so a slice counts as often as there are any.
        self.log_dict(scores, on_epoch=True, batch_size=self.trainer.world_size, sync_dist=True)
        return {"slice": index, "mask": mask}

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the recipe's solver and policy over the whole training."""
        optimiser = new_solver(self.model.parameters(), self._options)
        schedule = new_policy(optimiser, self._options, steps=int(self.trainer.estimated_stepping_batches))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
