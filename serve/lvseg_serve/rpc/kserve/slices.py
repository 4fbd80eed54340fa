"""A whole DICOM file as a model: the slice's own mask and figures, as ``SegmentationService.Segment`` gives them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lvseg.errors import ContourError
from lvseg.metrics import Agreement
from lvseg_serve.answers import Output
from lvseg_serve.rpc.calls import note_slice
from lvseg_serve.rpc.kserve.spec import ANY, Answer, TensorSpec
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.stages import SliceRequest

_AGREEMENT = ("dice", "apd_mm", "hausdorff_mm")


class DicomModel:
    """One slice a request. Figures that do not exist, such as those of no contour, are tensors without elements."""

    max_batch = 0
    inputs = (
        TensorSpec(name="dicom", datatype="BYTES", shape=(1,)),
        TensorSpec(name="frame", datatype="UINT32", shape=(1,), optional=True),
        TensorSpec(name="pixel_spacing", datatype="FP64", shape=(2,), optional=True),
        TensorSpec(name="contour", datatype="BYTES", shape=(1,), optional=True),
    )
    outputs = (
        TensorSpec(name="mask", datatype="UINT8", shape=(ANY, ANY)),
        TensorSpec(name="area_mm2", datatype="FP64", shape=(1,)),
        *(TensorSpec(name=name, datatype="FP64", shape=(ANY,)) for name in _AGREEMENT),
        TensorSpec(name="good", datatype="BOOL", shape=(ANY,)),
    )

    def __init__(self, name: str, segmenter: Segmenter) -> None:
        self.name = name
        self._segmenter = segmenter

    async def infer(self, inputs: Mapping[str, NDArray[Any]], wanted: frozenset[str]) -> Answer:
        """Segment the slice on its own grid."""
        answer = await self._segmenter.segment(_to_request(inputs, wanted))
        note_slice(answer.timings)
        tensors = {"area_mm2": np.array([answer.area_mm2]), **_figures(answer.agreement)}
        if answer.mask is not None:
            tensors["mask"] = answer.mask.astype(np.uint8)
        return Answer({name: tensors[name] for name in wanted}, slices=1, model=answer.model)


def _to_request(inputs: Mapping[str, NDArray[Any]], wanted: frozenset[str]) -> SliceRequest:
    spacing = inputs.get("pixel_spacing")
    return SliceRequest(
        dicom=inputs["dicom"].item(),
        frame=inputs["frame"].item() if "frame" in inputs else None,
        pixel_spacing=None if spacing is None else (float(spacing[0]), float(spacing[1])),
        contour=_text(inputs["contour"].item()) if "contour" in inputs else None,
        outputs=frozenset({Output.MASK} if "mask" in wanted else ()),
    )


def _text(contour: bytes) -> str:
    try:
        return contour.decode()
    except UnicodeDecodeError:
        raise ContourError(
            "input 'contour' is not text; expected that of a Sunnybrook contour file",
            reason="NOT_TEXT",
            field="contour",
            expected="UTF-8 text, one 'x y' pair in pixels a line",
        ) from None


def _figures(agreement: Agreement | None) -> dict[str, NDArray[Any]]:
    if agreement is None:
        return {**dict.fromkeys(_AGREEMENT, np.empty(0)), "good": np.empty(0, dtype=np.bool_)}
    values = {name: getattr(agreement, name) for name in _AGREEMENT}
    return {
        **{name: np.array([] if value is None else [value], np.float64) for name, value in values.items()},
        "good": np.array([agreement.good]),
    }
