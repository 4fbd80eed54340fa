"""Between the server's own classes and protobuf messages."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import struct_pb2
from numpy.typing import NDArray

from lvseg.errors import ContourError, InputError
from lvseg.metrics import Agreement
from lvseg.plausibility import Flag, Plausibility
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.answers import ALL_OUTPUTS, ModelIdentity, Output, Segmentation, ServerInfo, StageTimings
from lvseg_serve.png import encode_mask
from lvseg_serve.stages import SliceRequest

_OUTPUTS: dict[int, Output] = {pb.OUTPUT_MASK: Output.MASK, pb.OUTPUT_CONTOUR: Output.CONTOUR}
_FLAGS = {
    Flag.EPICARDIUM: pb.CONTOUR_FLAG_EPICARDIUM,
    Flag.OTHER_FRAME: pb.CONTOUR_FLAG_OTHER_FRAME,
    Flag.OTHER_PLACE: pb.CONTOUR_FLAG_OTHER_PLACE,
}


def to_request(message: pb.SegmentRequest) -> SliceRequest:
    """Return the request that a message carries.

    Raises:
        InputError: If an output is not one that this server knows.
        ContourError: If a contour came without one of its forms.
    """
    spacing = message.pixel_spacing
    return SliceRequest(
        dicom=message.dicom,
        frame=message.frame if message.HasField("frame") else None,
        pixel_spacing=(
            (spacing.between_rows_mm, spacing.between_columns_mm)
            if message.HasField("pixel_spacing")
            else None
        ),
        contour=_contour(message.contour) if message.HasField("contour") else None,
        outputs=frozenset(_output(number) for number in message.outputs) or ALL_OUTPUTS,
    )


def _contour(message: pb.Contour) -> NDArray[np.float64] | str:
    form = message.WhichOneof("form")
    if form is None:
        raise ContourError(
            "the contour has neither points nor text; give one of them or leave the contour out",
            reason="EMPTY_CONTOUR",
            field="contour",
            expected="points or sunnybrook_text",
        )
    if form == "sunnybrook_text":
        return message.sunnybrook_text
    return np.array([(point.x, point.y) for point in message.points.points], dtype=np.float64).reshape(-1, 2)


def _output(number: int) -> Output:
    output = _OUTPUTS.get(number)
    if output is None:
        raise InputError(
            f"output {number} is not one that this server knows; see the enum Output",
            reason="UNKNOWN_OUTPUT",
            field="outputs",
            expected=", ".join(f"OUTPUT_{known.name}" for known in _OUTPUTS.values()),
        )
    return output


def to_segment_response(answer: Segmentation) -> pb.SegmentResponse:
    """Return the message that carries an answer; the mask becomes a PNG here."""
    return pb.SegmentResponse(
        rows=answer.rows,
        columns=answer.columns,
        frame=answer.frame,
        pixel_spacing=pb.PixelSpacing(
            between_rows_mm=answer.pixel_spacing[0], between_columns_mm=answer.pixel_spacing[1]
        ),
        mask_png=b"" if answer.mask is None else encode_mask(answer.mask),
        contour=None if answer.contour is None else _polygon(answer.contour),
        area_mm2=answer.area_mm2,
        agreement=None if answer.agreement is None else _agreement(answer.agreement),
        plausibility=None if answer.plausibility is None else _plausibility(answer.plausibility),
        model=_model(answer.model),
        timings=_timings(answer.timings),
    )


def to_server_info_response(info: ServerInfo) -> pb.GetServerInfoResponse:
    """Return the message that carries what the server says of itself."""
    training = struct_pb2.Struct()
    training.update(_finite(info.training))
    return pb.GetServerInfoResponse(
        model=_model(info.model),
        architecture=info.architecture,
        labels=info.labels,
        input=pb.InputContract(channels=info.channels, working_spacing_mm=info.working_spacing_mm),
        training=training,
        threads=info.threads,
        limits=pb.Limits(
            max_message_bytes=info.limits.max_message_bytes,
            max_side=info.limits.max_side,
            max_working_pixels=info.limits.max_working_pixels,
            max_pending=info.limits.max_pending,
        ),
        versions=info.versions,
    )


def _finite(value: Any) -> Any:
    """Return a JSON value with null for NaN and the infinities: JSON, and so a Struct, has no word for them."""
    match value:
        case float() if not math.isfinite(value):
            return None
        case Mapping():
            return {key: _finite(member) for key, member in value.items()}
        case list() | tuple():
            return [_finite(member) for member in value]
    return value


def _polygon(points: NDArray[np.float64]) -> pb.Polygon:
    return pb.Polygon(points=[pb.Point(x=x, y=y) for x, y in points.tolist()])


def _agreement(agreement: Agreement) -> pb.Agreement:
    return pb.Agreement(
        dice=agreement.dice,
        apd_mm=agreement.apd_mm,
        hausdorff_mm=agreement.hausdorff_mm,
        good=agreement.good,
    )


def _plausibility(plausibility: Plausibility) -> pb.Plausibility:
    offset = plausibility.offset_mm
    return pb.Plausibility(
        flags=sorted(_FLAGS[flag] for flag in plausibility.flags),
        offset=None if offset is None else pb.Offset(x_mm=offset[0], y_mm=offset[1]),
    )


def _model(model: ModelIdentity) -> pb.ModelIdentity:
    return pb.ModelIdentity(
        name=model.name,
        version=model.version,
        sha256=model.sha256,
        engine=model.engine,
        engine_version=model.engine_version,
        precision=model.precision,
    )


def _timings(timings: StageTimings) -> pb.StageTimings:
    return pb.StageTimings(
        decode_ms=timings.decode_ms,
        resample_ms=timings.resample_ms,
        inference_ms=timings.inference_ms,
        postprocess_ms=timings.postprocess_ms,
        compare_ms=timings.compare_ms,
        total_ms=timings.total_ms,
    )
