"""The model that a training starts from."""

from pathlib import Path

import torch

from lvseg.cli import notice
from lvseg.models import SegmentationModel, build_model
from lvseg.models.pretrained import load_pretrained
from lvseg.train.options import TrainOptions


def starting_model(options: TrainOptions) -> SegmentationModel:
    """Return the model with random, zero or pretrained weights; what was taken from a file is told.

    Raises:
        OptionError: If the model cannot have the options given.
        WeightsError: If the file of ``--pretrained`` is not weights of this model.
    """
    model = build_model(options.model, options.network)
    if options.initialisation == "zero":
        _start_at_zero(model)
    if options.pretrained is not None:
        notice(load_pretrained(model, Path(options.pretrained)).describe())
    return model


def _start_at_zero(model: SegmentationModel) -> None:
    """Set all weights and biases that are trained to zero, as Caffe does where no filler is named."""
    with torch.no_grad():
        for parameter in model.network.parameters():
            if parameter.requires_grad:
                parameter.zero_()
