"""What lvseg-evaluate judges: a bundle on an engine, or a run in PyTorch, each as a server would segment."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lvseg.contour import Mask
from lvseg.data.labelled import LabelledImage
from lvseg.errors import EngineError, OptionError, RunError, missing_extra
from lvseg.evaluation import Predict
from lvseg.resample import mask_from_working, to_working
from lvseg_export.bundle import MANIFEST, load_bundle, sha256_of
from lvseg_export.choice import load_engine
from lvseg_export.engines.base import Engine

if TYPE_CHECKING:
    from lvseg.train.run import Checkpoint


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that is ready to be evaluated."""

    title: str
    """In one line, for people."""
    description: Mapping[str, Any]
    """What it is, to the digest of its files: what JSON can hold."""
    predict: Predict
    trained_on: frozenset[str]
    """Patients that it was trained on, as far as it tells: a bundle does not."""


def is_bundle(folder: Path) -> bool:
    """Tell whether a folder is a bundle rather than a run."""
    return (folder / MANIFEST).is_file()


def bundle_subject(folder: Path, *, runtime: str, precision: str, threads: int | None) -> Subject:
    """Load a bundle on an engine.

    Raises:
        BundleError: If the bundle is broken.
        OptionError: If there is no such engine, or it is not installed.
        EngineError: If the engine cannot run the bundle, or does not say what the trained model says.
    """
    bundle = load_bundle(folder)
    engine = load_engine(bundle, runtime, precision, threads=threads)
    model, spacing = bundle.manifest.model, bundle.manifest.input.working_spacing_mm
    return Subject(
        title=f"{model.name} {model.version} ({model.architecture}) on {engine.name}, {engine.precision}",
        description={
            "kind": "bundle",
            "folder": str(folder),
            "manifest_sha256": sha256_of(folder / MANIFEST),
            "model": dataclasses.asdict(model),
            "working_spacing_mm": spacing,
            "engine": _engine(engine),
        },
        predict=predictor(engine, spacing),
        trained_on=frozenset(),
    )


def run_subject(folder: Path, *, checkpoint: "Checkpoint", threads: int | None) -> Subject:
    """Load a run's model in PyTorch, which is imported here and not before.

    Raises:
        RunError: If the folder is no run, or a broken one, or has no such checkpoint.
        OptionError: If PyTorch is not installed.
    """
    try:
        import torch

        from lvseg.train.run import checkpoint_path, load_run
        from lvseg_export.engines.torch import TorchEngine
    except ModuleNotFoundError as error:
        raise missing_extra(error.name, "export", field="RUN_OR_BUNDLE") from error
    if threads:
        torch.set_num_threads(threads)
    try:
        run = load_run(folder, checkpoint)
    except RunError as error:
        if error.reason != "NOT_A_RUN":
            raise
        raise OptionError(
            f"{folder} is neither a bundle (it holds no {MANIFEST}) nor a run (it holds no options.json); "
            "write one with lvseg-train or lvseg-export",
            reason="NOTHING_TO_EVALUATE",
            field="RUN_OR_BUNDLE",
        ) from error
    record, engine = run.record, TorchEngine(run.model)
    return Subject(
        title=f"{folder} ({record.options.model}), {checkpoint} checkpoint, epoch {run.epoch}, on {engine.name}",
        description={
            "kind": "run",
            "folder": str(folder),
            "checkpoint": checkpoint,
            "checkpoint_sha256": sha256_of(checkpoint_path(folder, checkpoint)),
            "epoch": run.epoch,
            "model": {
                "architecture": record.options.model,
                "options": dataclasses.asdict(record.options.network),
            },
            "working_spacing_mm": record.working_spacing_mm,
            "engine": _engine(engine),
        },
        predict=predictor(engine, record.working_spacing_mm),
        trained_on=_patients(record.training),
    )


def predictor(engine: Engine, working_spacing_mm: float) -> Predict:
    """Return the function that segments a whole slice: to the working grid, through the engine, and back."""

    def predict(image: LabelledImage) -> Mask:
        pixels = to_working(image.slice.pixels, image.slice.pixel_spacing, working_spacing_mm)
        probability = engine.run(pixels[np.newaxis, np.newaxis]).probability
        if probability.shape != (1, *pixels.shape):
            raise EngineError(
                f"the engine answered with shape {probability.shape}, expected {(1, *pixels.shape)}"
            )
        return mask_from_working(probability[0], image.slice.pixels.shape)

    return predict


def _engine(engine: Engine) -> dict[str, str]:
    return {
        "name": engine.name,
        "version": engine.version,
        "file": engine.file,
        "precision": engine.precision,
    }


def _patients(names: Sequence[str]) -> frozenset[str]:
    return frozenset(name.partition("/")[0] for name in names)
