"""A trained FCN-8s made wider, as a run: the arithmetic of a width that was not trained, and masks that mean something.

python benchmarks/widened.py BUNDLE --images DIR --contours DIR --width 1 --fc-channels 4096 --out runs/wide

What a slice costs hangs on the width, and what a precision costs in Dice on weights that segment. Every channel is
there several times, and weights that read it are divided among its copies, so that the wide network gives the narrow
one's scores (Chen, Goodfellow, Shlens, "Net2Net", 2016). lvseg-export takes the run as any other.
"""

import dataclasses
from pathlib import Path

import click
import onnx
import torch
from torch import Tensor

from lvseg.cli import Command
from lvseg.models import NetworkOptions, build_model
from lvseg.train.options import RunRecord, TrainOptions, package_versions
from lvseg.train.run import BEST
from lvseg_export.bundle import load_bundle
from lvseg_export.files import FILES

_ARCHITECTURE = "fcn-8s"
_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command(cls=Command)
@click.argument("bundle", type=_FOLDER)
@click.option("--images", type=_FOLDER, required=True, help="As in lvseg-train.")
@click.option("--contours", type=_FOLDER, required=True, help="As in lvseg-train.")
@click.option("--width", type=float, default=1.0, show_default=True)
@click.option("--fc-channels", type=click.IntRange(1), default=4096, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), required=True)
def main(bundle: Path, images: Path, contours: Path, width: float, fc_channels: int, out: Path) -> None:
    """Write the run OUT, with the network of BUNDLE made wider."""
    if out.exists():
        raise click.UsageError(f"{out} exists: choose another --out")
    loaded = load_bundle(bundle)
    manifest = loaded.manifest
    if manifest.model.architecture != _ARCHITECTURE:  # normalisation across channels would see the copies
        raise click.UsageError(
            f"{bundle} is of {manifest.model.architecture}, expected one of {_ARCHITECTURE}"
        )
    training = manifest.training
    trained = NetworkOptions(**training["options"]["network"])
    # Batch normalisation is folded into the convolutions of a bundle.
    wide = dataclasses.replace(trained, norm="none", width=width, fc_channels=fc_channels)
    model = build_model(_ARCHITECTURE, wide)
    narrow = {
        weight.name: torch.from_numpy(onnx.numpy_helper.to_array(weight).copy())
        for weight in onnx.load(loaded.path(FILES["fp32"])).graph.initializer
    }
    model.load_state_dict({name: _widened(narrow[name], like) for name, like in model.state_dict().items()})
    checkpoint = out / BEST
    checkpoint.parent.mkdir(parents=True)
    torch.save(
        {
            "state_dict": {f"model.{name}": weight for name, weight in model.state_dict().items()},
            "lvseg_scores": {
                "epoch": training["best_epoch"],
                "val_dice": training["val_dice"],
                "val_accuracy": training["val_accuracy"],
            },
        },
        checkpoint,
    )
    options = {
        **training["options"],
        "network": dataclasses.asdict(wide),
        "images": str(images.resolve()),
        "contours": str(contours.resolve()),
        "validate": (),
    }
    RunRecord(
        options=TrainOptions.parse(options),
        working_spacing_mm=manifest.input.working_spacing_mm,
        training=(),
        validation=(),
        versions=package_versions(),
    ).write(out)


def _widened(weight: Tensor, like: Tensor) -> Tensor:
    """Return a weight or a bias with its channels repeated until it has the shape of another."""
    if weight.dim() == 1:
        return _copies(weight, 0, len(like))
    read = _copies(weight, 1, like.shape[1]) * (weight.shape[1] / like.shape[1])
    return _copies(read, 0, len(like))


def _copies(weight: Tensor, axis: int, channels: int) -> Tensor:
    copies, rest = divmod(channels, weight.shape[axis])
    if rest:
        raise click.UsageError(
            f"{channels} channels are no multiple of the {weight.shape[axis]} that were trained"
        )
    return weight.repeat_interleave(copies, dim=axis)


if __name__ == "__main__":
    main()
