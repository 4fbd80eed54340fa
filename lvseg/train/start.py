"""The model that a training starts from."""

from pathlib import Path

import torch

from lvseg.cli import notice
from lvseg.data.labelled import LabelledImage
from lvseg.data.split import Split
from lvseg.errors import OptionError
from lvseg.models import SegmentationModel, build_model
from lvseg.models.pretrained import Pretrained, load_pretrained
from lvseg.train.options import TrainOptions


def starting_model(options: TrainOptions) -> SegmentationModel:
    """Return the model with random, zero or pretrained weights.

    Raises:
        OptionError: If the model cannot have the options given.
        WeightsError: If the file of ``--pretrained`` is not weights of this model.
    """
    model, _ = _start(options)
    return model


def check_start(options: TrainOptions, data: Split[LabelledImage]) -> None:
    """Check all that a training needs, before a folder is made or replaced; tell what is taken from a file.

    Raises:
        OptionError: If the model cannot have the options given, or there are more processes than slices.
        WeightsError: If the file of ``--pretrained`` is not weights of this model.
    """
    processes = options.devices * options.nodes
    if processes > len(data.validation):
        raise OptionError(
            f"{processes} processes cannot share {len(data.validation)} validation slice(s); lower --devices or "
            "--nodes",
            reason="INVALID_OPTION",
            field="--devices",
        )
    _, pretrained = _start(options)
    if pretrained is not None:
        notice(pretrained.describe())


def _start(options: TrainOptions) -> tuple[SegmentationModel, Pretrained | None]:
    model = build_model(options.model, options.network)
    if options.initialisation == "zero":
        _start_at_zero(model)
    if options.pretrained is None:
        return model, None
    return model, load_pretrained(model, Path(options.pretrained))


def _start_at_zero(model: SegmentationModel) -> None:
    """Set all weights and biases that are trained to zero, as Caffe does where no filler is named."""
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.requires_grad:
                parameter.zero_()
