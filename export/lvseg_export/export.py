"""From a trained run to a bundle."""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvseg.data.files import find_dicom
from lvseg.data.phantom import write_phantoms
from lvseg.dicom import Slice, read_slice
from lvseg.resample import to_working
from lvseg.train.run import TrainedRun
from lvseg_export.bundle import (
    CARD,
    MANIFEST,
    REFERENCE,
    Bundle,
    EngineFile,
    InputContract,
    Manifest,
    ModelInfo,
    load_bundle,
    sha256_of,
)
from lvseg_export.card import model_card
from lvseg_export.engines.base import Engine, Prediction
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
from lvseg_export.engines.torch import TorchEngine
from lvseg_export.onnx import weights_version, write_onnx
from lvseg_export.parity import Parity, compare_predictions, require_parity

ONNX_FILE = "model.onnx"
LABELS = ("background", "left ventricle")
REFERENCE_SLICES = 4


def export_run(run: TrainedRun, folder: Path, *, name: str, slices: Sequence[Slice]) -> Bundle:
    """Write a run's best model as a bundle into an empty folder, and hold it to the trained model.

    Args:
        run: The trained run.
        folder: Where to write.
        name: The model's name, as a server will tell it.
        slices: Real slices on which to compare the exported graph with the trained model. Where there
            are none, the reference phantoms alone are compared.

    Raises:
        EngineError: If the exported graph does not say what the trained model says.
    """
    write_onnx(run.model, folder / ONNX_FILE)
    trained = TorchEngine(run.model)
    exported = OnnxRuntimeEngine(folder / ONNX_FILE, precision="fp32")
    phantoms = np.stack(_working_pixels(_phantoms(), run))[:, None]
    expected = trained.run(phantoms)
    np.savez_compressed(
        folder / REFERENCE, pixels=phantoms, mask=expected.mask, probability=expected.probability
    )

    checks = {"phantoms": compare_predictions([(exported.run(phantoms), expected)])}
    if slices:
        checks["labelled slices"] = _compare(exported, trained, _working_pixels(slices, run))
    for parity in checks.values():
        require_parity(parity, exported)
    manifest = _manifest(run, name, checks)
    (folder / CARD).write_text(model_card(manifest))
    files = sorted(path.name for path in folder.iterdir())
    manifest = dataclasses.replace(manifest, sha256={file: sha256_of(folder / file) for file in files})
    (folder / MANIFEST).write_text(manifest.to_json())
    return load_bundle(folder)


def _phantoms() -> list[Slice]:
    """Return slices of one phantom from base to apex, all of one size."""
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), patients=1, seed=0)
        files = find_dicom([Path(folder)])
        chosen = np.linspace(0, len(files) - 1, REFERENCE_SLICES).round().astype(int)
        return [read_slice(files[index]) for index in chosen]


def _working_pixels(slices: Sequence[Slice], run: TrainedRun) -> list[NDArray[np.float32]]:
    spacing = run.record.working_spacing_mm
    return [to_working(slice_.pixels, slice_.pixel_spacing, spacing) for slice_ in slices]


def _compare(found: Engine, expected: Engine, slices: Sequence[NDArray[np.float32]]) -> Parity:
    def predictions() -> Iterator[tuple[Prediction, Prediction]]:
        for pixels in slices:
            batch = pixels[None, None]
            yield found.run(batch), expected.run(batch)

    return compare_predictions(predictions())


def _manifest(run: TrainedRun, name: str, checks: dict[str, Parity]) -> Manifest:
    return Manifest(
        model=ModelInfo(
            name=name,
            version=weights_version(run.model),
            architecture=run.record.options.model,
            options=dataclasses.asdict(run.record.options.network),
        ),
        input=InputContract(channels=1, working_spacing_mm=run.record.working_spacing_mm),
        labels=LABELS,
        training=_training(run),
        engines=(
            EngineFile(
                file=ONNX_FILE,
                runtime="onnx",
                precision="fp32",
                parity={check: dataclasses.asdict(parity) for check, parity in checks.items()},
            ),
        ),
    )


def _training(run: TrainedRun) -> dict[str, Any]:
    """Return what a reader of the bundle should know of the training, in numbers.

    Neither a path of the machine it ran on nor a patient: the names of folders may be hospital numbers.
    """
    record = run.record
    options = dataclasses.asdict(record.options)
    for private in ("images", "contours", "validate"):
        del options[private]
    if record.options.pretrained is not None:
        options["pretrained"] = Path(record.options.pretrained).name
    return {
        "split": "by patient" if record.options.validate else "by contour: patients stand on both sides",
        "training_slices": len(record.training),
        "training_patients": _patients(record.training),
        "validation_slices": len(record.validation),
        "validation_patients": _patients(record.validation),
        "best_epoch": run.epoch,
        "val_dice": run.val_dice,
        "val_accuracy": run.val_accuracy,
        "options": options,
        "versions": dict(record.versions),
    }


def _patients(names: Sequence[str]) -> int:
    return len({name.partition("/")[0] for name in names})
