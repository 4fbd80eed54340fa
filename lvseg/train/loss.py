"""The losses, by the names that recipes use."""

from monai.losses import DiceCELoss, DiceLoss
from torch import Tensor, nn

from lvseg.train.recipes import Recipe


def new_loss(recipe: Recipe) -> nn.Module:
    """Return the recipe's loss of logits (N, 2, H, W) and labels (N, 1, H, W)."""
    # One Dice for the whole batch: an empty window alone would make its own Dice loss jump.
    batch = DiceCELoss(
        softmax=True,
        to_onehot_y=True,
        include_background=False,
        batch=True,
        lambda_dice=float(recipe.loss != "cross-entropy"),
    )
    return _WithEachDice(batch) if recipe.loss == "cross-entropy+dice+each-dice" else batch


class _WithEachDice(nn.Module):
    """A batch's loss, and the mean Dice loss of those of its windows that hold ventricle.

    In one Dice over the batch an apical cavity of a hundred pixels weighs next to nothing beside a basal one
    of two thousand; in the mean Dice of slices, by which a model is judged, both weigh the same.
    """

    def __init__(self, batch: nn.Module) -> None:
        super().__init__()
        self._batch = batch
        self._each = DiceLoss(softmax=True, to_onehot_y=True, include_background=False)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of logits (N, 2, H, W) and labels (N, 1, H, W)."""
        loss: Tensor = self._batch(logits, labels)
        held = labels.flatten(1).any(dim=1)
        return loss + self._each(logits[held], labels[held]) if held.any() else loss
