import math

import pytest
import torch

from lvseg.train.loss import new_loss
from lvseg.train.recipes import RECIPES, Loss

# Two windows of four pixels, every pixel undecided: a probability of 1/2. The first holds ventricle in one pixel, the
# second none. Dice of the batch: 2 * 1/2 / (8 * 1/2 + 1) = 1/5; of the first window: 2 * 1/2 / (4 * 1/2 + 1) = 1/3.
UNDECIDED = torch.zeros(2, 2, 2, 2)
LABELS = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]], [[[0.0, 0.0], [0.0, 0.0]]]])


def loss(kind: Loss, logits: torch.Tensor = UNDECIDED, labels: torch.Tensor = LABELS) -> float:
    return float(new_loss(RECIPES["scratch-fcn8s"].but(loss=kind))(logits, labels))


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("cross-entropy", math.log(2)),
        ("cross-entropy+dice", math.log(2) + 4 / 5),
        ("cross-entropy+dice+each-dice", math.log(2) + 4 / 5 + 2 / 3),
    ],
)
def test_a_loss_is_the_sum_that_its_name_says(kind, expected):
    assert loss(kind) == pytest.approx(expected, abs=1e-4)


def test_windows_without_ventricle_have_no_dice_of_their_own():
    empty = torch.zeros_like(LABELS)
    assert loss("cross-entropy+dice+each-dice", labels=empty) == loss("cross-entropy+dice", labels=empty)


def test_a_small_cavity_weighs_as_much_as_a_large_one_in_the_dice_of_each():
    # Missing all of a cavity of one pixel, or all of one of nine, costs the same: half of the mean.
    labels = torch.zeros(2, 1, 8, 8)
    labels[0, 0, 0, 0] = 1
    labels[1, 0, :3, :3] = 1
    found = torch.cat((1 - labels, labels), dim=1) * 40 - 20
    without = []
    for window in (0, 1):
        logits = found.clone()
        logits[window] = torch.tensor([20.0, -20.0]).view(2, 1, 1)
        kinds: tuple[Loss, Loss] = ("cross-entropy+dice+each-dice", "cross-entropy+dice")
        without.append(loss(kinds[0], logits, labels) - loss(kinds[1], logits, labels))
    assert without == pytest.approx([0.5, 0.5], abs=1e-4)
