"""From a trained run to a bundle."""

import dataclasses
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvseg.data.files import find_dicom
from lvseg.data.labelled import LabelledImage
from lvseg.data.phantom import write_phantoms
from lvseg.dicom import Slice, read_slice
from lvseg.resample import to_working
from lvseg.train.options import TrainOptions
from lvseg.train.run import TrainedRun
from lvseg_export.bundle import (
    CARD,
    MANIFEST,
    PARITY,
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
from lvseg_export.cross_validation import CrossValidation
from lvseg_export.engines.plans import PlanOptions
from lvseg_export.engines.torch import TorchEngine
from lvseg_export.examination import Examiner
from lvseg_export.files import FILES, write_float, write_int8
from lvseg_export.onnx import weights_version
from lvseg_export.results import Result, to_json

LABELS = ("background", "left ventricle")
REFERENCE_SLICES = 4


class Exported(NamedTuple):
    """A bundle that was written, and what its files were held to."""

    bundle: Bundle
    results: Sequence[Result]


def export_run(
    run: TrainedRun,
    folder: Path,
    *,
    name: str,
    images: Sequence[LabelledImage],
    precisions: Collection[str] = ("fp32",),
    calibration: Sequence[Slice] = (),
    cross_validation: CrossValidation | None = None,
    notes: str = "",
    plans: PlanOptions | None = None,
) -> Exported:
    """Write a run's best model as a bundle into an empty folder, and hold each file to the trained model.

    Args:
        run: The trained run.
        folder: Where to write.
        name: The model's name, as a server will tell it.
        images: Labelled slices on which to compare the exported graphs with the trained model. Where there
            are none, phantoms alone are compared.
        precisions: Which of :data:`~lvseg_export.files.FILES` to write; fp32 always is.
        calibration: Slices of the training, which int8 takes its ranges from.
        cross_validation: What the run's recipe is worth on patients left out, for manifest and model card.
        notes: Markdown for the model card: what its writer cannot know, such as the data's licence.
        plans: For TensorRT, where it is installed: what the plans of the files are built for, and where they are kept.

    Raises:
        EngineError: If a graph does not say what the trained model says, within what its precision allows, or
            ``plans`` do not take the slices that the files are examined on.
        ValueError: If int8 is asked for without slices to take its ranges from.
    """
    trained, spacing = TorchEngine(run.model), run.record.working_spacing_mm
    phantoms = np.stack(_working_pixels(_phantoms(), spacing))[:, None]
    examiner = Examiner(trained, phantoms=phantoms, images=images, working_spacing_mm=spacing)
    if plans:
        for shape in examiner.shapes:  # before minutes go by in which a plan is built
            plans.profile.check(shape)
    np.savez_compressed(
        folder / REFERENCE,
        pixels=phantoms,
        mask=examiner.expected.mask,
        probability=examiner.expected.probability,
    )
    results = write_float(run.model, folder, "fp32", examiner, plans)
    for precision in ("fp16", "bf16"):
        if precision in precisions:
            results += write_float(run.model, folder, precision, examiner, plans)
    if "int8" in precisions:
        results += write_int8(folder, _working_pixels(calibration, spacing), examiner, plans)
    manifest = _manifest(run, name, folder, {result.file for result in results}, cross_validation)
    (folder / PARITY).write_text(to_json(results, manifest.engines))
    (folder / CARD).write_text(model_card(manifest, results, notes), encoding="utf-8")
    files = sorted(path.name for path in folder.iterdir())
    manifest = dataclasses.replace(manifest, sha256={file: sha256_of(folder / file) for file in files})
    (folder / MANIFEST).write_text(manifest.to_json())
    return Exported(load_bundle(folder), results)


def _phantoms() -> list[Slice]:
    """Return slices of one phantom from base to apex, all of one size."""
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), patients=1, seed=0)
        files = find_dicom([Path(folder)])
        chosen = np.linspace(0, len(files) - 1, REFERENCE_SLICES).round().astype(int)
        return [read_slice(files[index]) for index in chosen]


def _working_pixels(slices: Sequence[Slice], spacing_mm: float) -> list[NDArray[np.float32]]:
    return [to_working(slice_.pixels, slice_.pixel_spacing, spacing_mm) for slice_ in slices]


def _manifest(
    run: TrainedRun,
    name: str,
    folder: Path,
    examined: Collection[str],
    cross_validation: CrossValidation | None,
) -> Manifest:
    return Manifest(
        model=ModelInfo(
            name=name,
            version=weights_version(run.model),
            architecture=run.record.options.model,
            options=dataclasses.asdict(run.record.options.network),
        ),
        input=InputContract(channels=1, working_spacing_mm=run.record.working_spacing_mm),
        labels=LABELS,
        training=_training(run, cross_validation),
        engines=tuple(
            EngineFile(file=file, runtime="onnx", precision=precision, examined=file in examined)
            for precision, file in FILES.items()
            if (folder / file).exists()
        ),
    )


def _training(run: TrainedRun, cross_validation: CrossValidation | None) -> dict[str, Any]:
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
        "split": _split(record.options),
        "training_slices": len(record.training),
        "training_patients": _patients(record.training),
        "validation_slices": len(record.validation),
        "validation_patients": _patients(record.validation),
        "best_epoch": run.epoch,
        "val_dice": run.val_dice,
        "val_accuracy": run.val_accuracy,
        "cross_validation": None if cross_validation is None else dataclasses.asdict(cross_validation),
        "options": options,
        "versions": dict(record.versions),
    }


def _split(options: TrainOptions) -> str:
    if options.leave_none_out:
        return "none: validated on the training slices"
    return "by patient" if options.validate else "by contour: patients stand on both sides"


def _patients(names: Sequence[str]) -> int:
    return len({name.partition("/")[0] for name in names})
