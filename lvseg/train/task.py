"""The training task: windows in, whole slices judged."""

from collections.abc import Sequence

import numpy as np
import torch
from lightning import LightningModule
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from monai.losses import DiceCELoss
from numpy.typing import NDArray
from torch import Tensor

from lvseg.data.sunnybrook import LabelledImage
from lvseg.errors import OperationError
from lvseg.metrics import dice
from lvseg.models import SegmentationModel
from lvseg.resample import mask_from_working, to_working
from lvseg.train.options import TrainOptions


class SegmentationTask(LightningModule):
    """Cross-entropy plus soft Dice on windows; pixel accuracy and Dice on whole slices.

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
        # One Dice for the whole batch: an empty window alone would make its own Dice loss jump.
        self._loss = DiceCELoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_index: int) -> Tensor:
        """Return the loss of windows (N, 1, S, S), already normalised, and their labels."""
        windows, labels = batch
        loss: Tensor = self._loss(
            self.model.network(windows.contiguous(memory_format=torch.channels_last)), labels
        )
        if not torch.isfinite(loss):
            raise OperationError(
                f"the loss is {loss.item()} in epoch {self.current_epoch + 1}, batch {batch_index + 1}; "
                "lower --learning-rate (the checkpoints so far are kept)"
            )
        self.log("train_loss", loss, on_epoch=True, on_step=False, batch_size=len(windows), sync_dist=True)
        return loss

    def validation_step(self, batch: tuple[Tensor]) -> None:
        """Judge the validation slice of this index as a server would segment it."""
        image = self._validation[int(batch[0])]
        mask = self.predict(image)
        scores = {"val_accuracy": float(np.mean(mask == image.mask)), "val_dice": dice(mask, image.mask)}
        self.log_dict(scores, on_epoch=True, batch_size=1, sync_dist=True)

    def predict(self, image: LabelledImage) -> NDArray[np.bool_]:
        """Return the mask of a slice, of its own shape (rows, columns)."""
        pixels = to_working(image.slice.pixels, image.slice.pixel_spacing, self._working_spacing_mm)
        logits = self.model(torch.from_numpy(pixels)[None, None].to(self.device))
        probability = torch.softmax(logits.float(), dim=1)[0, 1].cpu().numpy()
        return mask_from_working(probability, image.slice.pixels.shape)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW on a one-cycle schedule over the whole training."""
        optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=self._options.learning_rate, weight_decay=self._options.weight_decay
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, self._options.learning_rate, total_steps=int(self.trainer.estimated_stepping_batches)
        )
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
