"""The ONNX files of a bundle, one for each precision, each examined before it counts as written."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lvseg.errors import EngineError
from lvseg.models import SegmentationModel
from lvseg_export.choice import RUNTIMES
from lvseg_export.engines.plans import PlanOptions
from lvseg_export.examination import Examiner
from lvseg_export.onnx import write_onnx
from lvseg_export.parity import LARGEST_DICE_LOSS
from lvseg_export.quantise import Quantiser
from lvseg_export.results import Result

FILES: Mapping[str, str] = {
    "fp32": "model.onnx",
    "fp16": "model.fp16.onnx",
    "bf16": "model.bf16.onnx",
    "int8": "model.int8.onnx",
}
"""By precision."""

_LAYERS: Mapping[str, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
# The first layer sees raw intensities, whose few bright pixels want a range of their own; it is next to no work.
_FEWEST_FLOAT_LAYERS = 1
_ROOMY = 0.75  # of what a loading allows


def write_float(
    model: SegmentationModel,
    folder: Path,
    precision: str,
    examiner: Examiner,
    plans: PlanOptions | None = None,
) -> list[Result]:
    """Write the file of ``"fp32"``, ``"fp16"`` or ``"bf16"``, and return what it was held to.

    Of bf16 that is nothing where there is no TensorRT: no runtime has such convolutions on a CPU.

    Args:
        model: The trained model.
        folder: Where to write.
        precision: Of the file.
        examiner: Holds the file to the trained model.
        plans: For TensorRT, where it is installed: what its plan is built for, and where it is kept.

    Raises:
        EngineError: If a runtime that is here does not say what the trained model says.
    """
    path = folder / FILES[precision]
    write_onnx(model, path, layers=_LAYERS[precision])
    return _examine(path, precision, examiner, plans)


def write_int8(
    folder: Path,
    calibration: Sequence[NDArray[np.float32]],
    examiner: Examiner,
    plans: PlanOptions | None = None,
) -> list[Result]:
    """Write the int8 file from the float32 one, and return what it was held to.

    Convolutions are kept in float32, from the input on, until the masks are good enough, with room for what
    other processors round otherwise: what the first layers round off, all others see. Where no number of them
    leaves that room, the masks closest to the trained model's are taken.

    Args:
        folder: Holds the float32 file.
        calibration: Slices (H, W) of the training on the working grid.
        examiner: Holds the file to the trained model.
        plans: As for :func:`write_float`; what is tried and not taken leaves its plan there too.

    Raises:
        EngineError: If the masks are not good enough with half of the layers in float32.
        ValueError: If there are no slices.
    """
    path = folder / FILES["int8"]
    with tempfile.TemporaryDirectory() as scratch:
        quantiser = Quantiser(folder / FILES["fp32"], calibration, scratch=Path(scratch))
        most = len(quantiser.convolutions) // 2
        passed: dict[int, list[Result]] = {}
        for float_layers in range(_FEWEST_FLOAT_LAYERS, most + 1):
            quantiser.write(path, float_layers=float_layers)
            try:
                passed[float_layers] = _examine(path, "int8", examiner, plans)
            except EngineError as error:
                refused = error
                continue
            if _largest_loss(passed[float_layers]) <= _ROOMY * LARGEST_DICE_LOSS["int8"]:
                return passed[float_layers]
        if passed:
            closest = min(passed, key=lambda layers: _largest_loss(passed[layers]))
            quantiser.write(path, float_layers=closest)
            return passed[closest]
    raise EngineError(f"int8, with the first {most} layers in float32: {refused}") from refused


def _largest_loss(results: Sequence[Result]) -> float:
    """Return how far the masks of phantoms are from the trained model's, which every loading looks at again."""
    return max(1 - result.parity.dice for result in results if result.dice_on_labels is None)


def _examine(path: Path, precision: str, examiner: Examiner, plans: PlanOptions | None) -> list[Result]:
    return [
        result
        for runtime in RUNTIMES.values()
        # OpenVINO's bf16 is of another file, and is not examined.
        if runtime.installed
        and runtime.precisions.get(precision) == precision
        and not runtime.lacks(precision)
        for result in examiner.examine(runtime.load(path, precision, plans=plans))
    ]
