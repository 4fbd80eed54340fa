"""What the validations of a training leave behind: the two classes' confusion, and masks every few epochs."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from torch import distributed

from lvseg.contour import Mask
from lvseg.data.labelled import LabelledImage
from lvseg.train.confusion import CONFUSION, Confusion, read_confusions, write_confusions
from lvseg.train.views import side_by_side, spread_over_areas, ventricle_view
from lvseg.whole_files import whole_file

HISTORY = Path("history")
"""Folder of the masks and pictures of some epochs."""

Masks: TypeAlias = Mapping[str, Mask]
"""Masks by the names of their slices."""

_KEPT = 10  # validations whose masks are kept


class ValidationHistory(Callback):
    """Write ``confusion.csv`` at each validation, and about ten times in a training all masks and a picture.

    The picture shows the slices of the smallest, the median and the largest ventricle; TensorBoard has it too.
    A resumed training keeps what was written up to its checkpoint. Of several processes the first writes, and
    a slice that two of them judged counts once.

    Args:
        folder: The run folder.
        validation: The slices that the task validates on; its validation step returns ``slice``, the place
            in this sequence, and ``mask``.
    """

    def __init__(self, folder: Path, validation: Sequence[LabelledImage]) -> None:
        self._folder = folder
        self._validation = validation
        self._masks: dict[int, NDArray[np.bool_]] = {}
        self._confusions: dict[int, Confusion] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Keep the confusions of finished epochs."""
        path = self._folder / CONFUSION
        if trainer.is_global_zero and path.exists():
            self._confusions = {
                epoch: confusion
                for epoch, confusion in read_confusions(path).items()
                if epoch <= trainer.current_epoch
            }

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Forget the masks of the last validation."""
        self._masks = {}

    def on_validation_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,
        *_: Any,
    ) -> None:
        """Take in the mask of a slice."""
        self._masks[outputs["slice"]] = outputs["mask"]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Write what the validation came to."""
        if trainer.sanity_checking:
            return
        masks = _from_all_processes(self._masks)
        if not trainer.is_global_zero:
            return
        epoch = trainer.current_epoch + 1
        confusions = (Confusion.of(mask, self._validation[index].mask) for index, mask in masks.items())
        self._confusions[epoch] = sum(confusions, start=Confusion())
        write_confusions(self._confusions, self._folder / CONFUSION)
        if epoch in kept_epochs(trainer.max_epochs or epoch, trainer.check_val_every_n_epoch or 1):
            self._keep(trainer, epoch, {self._validation[index].name: mask for index, mask in masks.items()})

    def _keep(self, trainer: Trainer, epoch: int, masks: Masks) -> None:
        folder = self._folder / HISTORY
        folder.mkdir(exist_ok=True)
        write_masks(masks, folder / f"epoch-{epoch:04d}.npz")
        followed = spread_over_areas([image for image in self._validation if image.name in masks])
        picture = side_by_side([ventricle_view(image, masks[image.name]) for image in followed])
        picture.save(folder / f"epoch-{epoch:04d}.png")
        if isinstance(trainer.logger, TensorBoardLogger):
            trainer.logger.experiment.add_image(
                "smallest, median, largest ventricle", np.asarray(picture), epoch, dataformats="HWC"
            )


def kept_epochs(epochs: int, interval: int) -> Sequence[int]:
    """Return the epochs whose masks are kept, from 1: ten validated ones, the first and the last among them."""
    last = epochs // interval
    return sorted({round(place) * interval for place in np.linspace(1, last, _KEPT).tolist()})


def write_masks(masks: Masks, path: Path) -> None:
    """Write the masks of some slices: a few hundred bytes each."""
    with whole_file(path) as stream:
        np.savez_compressed(stream, np.array(list(masks)), *masks.values())


def read_history(folder: Path, names: Collection[str]) -> dict[int, Masks]:
    """Return the masks that a run folder keeps of some slices, by epoch."""
    history: dict[int, Masks] = {}
    for path in (folder / HISTORY).glob("epoch-*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            history[int(path.stem.removeprefix("epoch-"))] = {
                name: arrays[f"arr_{place}"]
                for place, name in enumerate(arrays["arr_0"].tolist(), start=1)
                if name in names
            }
    return history


def _from_all_processes(masks: dict[int, NDArray[np.bool_]]) -> dict[int, NDArray[np.bool_]]:
    if not (distributed.is_available() and distributed.is_initialized()):
        return masks
    parts: list[dict[int, NDArray[np.bool_]]] = [{}] * distributed.get_world_size()
    distributed.all_gather_object(parts, masks)
    return {index: mask for part in parts for index, mask in part.items()}
