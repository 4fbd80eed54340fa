"""The history that validations leave, of the callback alone and of a real run."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

from lvseg.data.labelled import LabelledImage, load_all
from lvseg.data.sunnybrook import index_sunnybrook
from lvseg.train.confusion import Confusion, read_confusions, write_confusions
from lvseg.train.history import ValidationHistory, kept_epochs, read_history, write_masks


@pytest.fixture(scope="module")
def images(phantom: Path) -> tuple[LabelledImage, ...]:
    return load_all(index_sunnybrook(phantom, phantom).samples[:3]).images


class Shrinking(LightningModule):
    """Finds the expert's masks less as many of their rows as epochs have passed."""

    def __init__(self, images: tuple[LabelledImage, ...]) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.images = images

    def mask(self, index: int, epoch: int) -> np.ndarray:
        mask = self.images[index].mask.copy()
        mask[np.flatnonzero(mask.any(axis=1))[:epoch]] = False
        return mask

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:  # noqa: ARG002
        return self.weight.square().sum()

    def validation_step(self, batch: list[torch.Tensor]) -> dict[str, object]:
        index = int(batch[0])
        return {"slice": index, "mask": self.mask(index, self.current_epoch + 1)}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train(folder: Path, task: Shrinking, *, epochs: int, resume: Path | None = None) -> None:
    batches = DataLoader(TensorDataset(torch.arange(len(task.images))), batch_size=None)
    Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[
            ValidationHistory(folder, task.images),
            ModelCheckpoint(folder, "last", every_n_epochs=1, save_on_train_epoch_end=True),
        ],
        logger=TensorBoardLogger(folder, name="", version="tensorboard"),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    ).fit(task, batches, batches, ckpt_path=resume, weights_only=True)


def expected(task: Shrinking, epochs: int) -> dict[int, Confusion]:
    """Return what was removed, and what was left, counted without the code under test."""
    confusions = {}
    for epoch in range(1, epochs + 1):
        left = sum(int(task.mask(index, epoch).sum()) for index in range(len(task.images)))
        ventricle = sum(int(image.mask.sum()) for image in task.images)
        pixels = sum(image.mask.size for image in task.images)
        confusions[epoch] = Confusion(pixels - ventricle, 0, ventricle - left, left)
    return confusions


pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:.*isinstance.treespec, LeafSpec.*",
    "ignore:.*is not empty.*",
)


def test_every_validation_adds_up_its_slices(images, tmp_path):
    task = Shrinking(images)
    train(tmp_path, task, epochs=3)
    assert read_confusions(tmp_path / "confusion.csv") == expected(task, 3)


def test_masks_are_kept_by_the_names_of_their_slices(images, tmp_path):
    task = Shrinking(images)
    train(tmp_path, task, epochs=2)
    history = read_history(tmp_path, [image.name for image in images])
    assert sorted(history) == [1, 2]
    for index, image in enumerate(images):
        np.testing.assert_array_equal(history[2][image.name], task.mask(index, 2))
    with Image.open(tmp_path / "history/epoch-0002.png") as picture:
        assert picture.width > 2 * picture.height


def test_a_resumed_training_keeps_what_its_checkpoint_knows(images, tmp_path):
    task = Shrinking(images)
    train(tmp_path, task, epochs=2)
    done = read_confusions(tmp_path / "confusion.csv")
    write_confusions({**done, 3: Confusion(9, 9, 9, 9)}, tmp_path / "confusion.csv")  # killed in epoch 3
    train(tmp_path, Shrinking(images), epochs=4, resume=tmp_path / "last.ckpt")
    assert read_confusions(tmp_path / "confusion.csv") == expected(task, 4)


def test_a_new_training_forgets_the_rows_of_one_that_never_reached_a_checkpoint(images, tmp_path):
    write_confusions({7: Confusion(9, 9, 9, 9)}, tmp_path / "confusion.csv")
    task = Shrinking(images)
    train(tmp_path, task, epochs=1)
    assert read_confusions(tmp_path / "confusion.csv") == expected(task, 1)


@pytest.mark.parametrize(
    ("epochs", "interval", "kept"),
    [
        (5, 1, [1, 2, 3, 4, 5]),
        (60, 10, [10, 20, 30, 40, 50, 60]),
        (50, 1, [1, 6, 12, 17, 23, 28, 34, 39, 45, 50]),
        (50, 50, [50]),
    ],
)
def test_about_ten_validations_are_kept_the_first_and_the_last_among_them(epochs, interval, kept):
    assert kept_epochs(epochs, interval) == kept


def test_masks_of_several_shapes_come_back_as_they_were(tmp_path):
    masks = {"A/1": np.eye(3, 5, dtype=bool), "B/file": np.zeros((7, 2), dtype=bool)}
    (tmp_path / "history").mkdir()
    write_masks(masks, tmp_path / "history/epoch-0012.npz")
    (back,) = read_history(tmp_path, ["A/1", "B/file", "C/1"]).values()
    assert list(back) == list(masks)
    for name, mask in masks.items():
        np.testing.assert_array_equal(back[name], mask)


def test_masks_of_the_slices_asked_for_are_read_alone(tmp_path):
    (tmp_path / "history").mkdir()
    for epoch in (3, 12):
        masks = {"A/1": np.full((2, 2), epoch == 3), "B/1": np.eye(4, dtype=bool)}
        write_masks(masks, tmp_path / f"history/epoch-{epoch:04d}.npz")
    history = read_history(tmp_path, {"A/1"})
    assert {
        epoch: {name: mask.all() for name, mask in masks.items()} for epoch, masks in history.items()
    } == {
        3: {"A/1": True},
        12: {"A/1": False},
    }


def test_the_confusion_of_a_run_agrees_with_its_metrics(trained_run):
    """All slices of a phantom are of one size, so the mean of their accuracies is that of all their pixels."""
    confusions = read_confusions(trained_run / "confusion.csv")
    with (trained_run / "metrics.csv").open(newline="") as stream:
        accuracies = {
            int(row["epoch"]): float(row["val_accuracy"])
            for row in csv.DictReader(stream)
            if row["val_accuracy"]
        }
    assert list(confusions) == list(accuracies) == [10, 20, 30, 40, 50, 60]
    for epoch, confusion in confusions.items():
        right = confusion.true_negative + confusion.true_positive
        pixels = right + confusion.false_negative + confusion.false_positive
        assert right / pixels == pytest.approx(accuracies[epoch], abs=2e-6)
