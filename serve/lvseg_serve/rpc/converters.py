"""Between the server's own classes and protobuf messages."""

import asyncio
import math
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
from google.protobuf import struct_pb2
from numpy.typing import NDArray

from lvseg.contour import MAX_POINTS, Boundary, too_long
from lvseg.errors import ContourError, InputError
from lvseg.metrics import Agreement
from lvseg.plausibility import Flag, Plausibility
from lvseg.shift import Shift
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.answers import (
    DEFAULT_OUTPUTS,
    ContourForm,
    ModelIdentity,
    Output,
    Segmentation,
    SeriesSummary,
    ServerInfo,
    StageTimings,
)
from lvseg_serve.bits import encode_bits
from lvseg_serve.floats import encode_floats
from lvseg_serve.png import encode_mask
from lvseg_serve.reference import EncodedMask, Given
from lvseg_serve.runs import encode_runs
from lvseg_serve.stages import SliceRequest

_OUTPUTS: dict[int, Output] = {pb.Output.Value(f"OUTPUT_{output.name}"): output for output in Output}
_FLAGS = {
    Flag.EPICARDIUM: pb.CONTOUR_FLAG_EPICARDIUM,
    Flag.OTHER_FRAME: pb.CONTOUR_FLAG_OTHER_FRAME,
    Flag.OTHER_PLACE: pb.CONTOUR_FLAG_OTHER_PLACE,
}


_SMALL_PIXELS = 512 * 512


def to_request(message: pb.SegmentRequest) -> SliceRequest:
    """Return the request that a message carries.

    Raises:
        InputError: If an output is not one that this server knows.
        ContourError: If a contour came without one of its forms, or with too many points.
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
        outputs=frozenset(map(_output, set(message.outputs))) or DEFAULT_OUTPUTS,
    )


def _contour(message: pb.Contour) -> Given:
    match message.WhichOneof("form"):
        case "points":
            if len(message.points.points) > MAX_POINTS:
                raise too_long("contour")
            points = [(point.x, point.y) for point in message.points.points]
            return np.array(points, dtype=np.float64).reshape(-1, 2)
        case "sunnybrook_text":
            return message.sunnybrook_text
        case "mask_png":
            return EncodedMask(ContourForm.MASK_PNG, message.mask_png)
        case "mask_bits":
            return EncodedMask(ContourForm.MASK_BITS, message.mask_bits)
    raise ContourError(
        "the contour has neither points, nor text, nor a mask; give one of them or leave the contour out",
        reason="EMPTY_CONTOUR",
        field="contour",
        expected="points, sunnybrook_text, mask_png or mask_bits",
    )


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


async def segment_response(
    answer: Segmentation, outputs: Collection[Output], *, max_message_bytes: int
) -> pb.SegmentResponse:
    """Return what :func:`to_segment_response` does, without holding up the event loop for long.

    An ordinary slice takes a tenth of a millisecond, as much as changing threads.
    """
    convert = partial(to_segment_response, answer, outputs, max_message_bytes=max_message_bytes)
    small = answer.rows * answer.columns <= _SMALL_PIXELS
    return convert() if small else await asyncio.to_thread(convert)


def to_segment_response(
    answer: Segmentation, outputs: Collection[Output], *, max_message_bytes: int
) -> pb.SegmentResponse:
    """Return the message that carries an answer.

    Args:
        answer: What is to be said.
        outputs: Those of the request, which say in which forms the mask travels.
        max_message_bytes: What the server may send.

    Raises:
        InputError: If the outputs do not fit into one message.
    """
    mask = answer.mask
    message = pb.SegmentResponse(
        rows=answer.rows,
        columns=answer.columns,
        frame=answer.frame,
        pixel_spacing=pb.PixelSpacing(
            between_rows_mm=answer.pixel_spacing[0], between_columns_mm=answer.pixel_spacing[1]
        ),
        mask_png=encode_mask(mask) if mask is not None and Output.MASK in outputs else b"",
        mask_runs=encode_runs(mask) if mask is not None and Output.MASK_RUNS in outputs else (),
        mask_bits=encode_bits(mask) if mask is not None and Output.MASK_BITS in outputs else b"",
        contour=None if answer.contour is None else to_polygon(answer.contour),
        boundaries=[_boundary(boundary) for boundary in answer.boundaries or ()],
        probability=b"" if answer.probability is None else encode_floats(answer.probability),
        area_mm2=answer.area_mm2,
        agreement=None if answer.agreement is None else _agreement(answer.agreement),
        contour_form=(
            pb.CONTOUR_FORM_UNSPECIFIED
            if answer.contour_form is None
            else pb.ContourForm.Value(f"CONTOUR_FORM_{answer.contour_form.name}")
        ),
        plausibility=None if answer.plausibility is None else _plausibility(answer.plausibility),
        model=to_model(answer.model),
        timings=_timings(answer.timings),
    )
    if message.ByteSize() > max_message_bytes:
        raise InputError(
            f"the answer would have {message.ByteSize()} bytes, a message has at most {max_message_bytes}; "
            "ask for fewer outputs at a time",
            reason="TOO_LARGE",
            field="outputs",
            expected=f"outputs of at most {max_message_bytes} bytes",
        )
    return message


def to_series_summary(summary: SeriesSummary) -> pb.SeriesSummary:
    """Return the message that ends a stream."""
    shift = summary.contour_shift
    return pb.SeriesSummary(
        answered=summary.answered,
        failed=summary.failed,
        contour_shift=None if shift is None else _contour_shift(shift),
    )


def to_server_info_response(info: ServerInfo) -> pb.GetServerInfoResponse:
    """Return the message that carries what the server says of itself."""
    training = struct_pb2.Struct()
    training.update(_finite(info.training))
    return pb.GetServerInfoResponse(
        model=to_model(info.model),
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
            max_stream_pending=info.limits.max_stream_pending,
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


_POINT = np.dtype([("point", "V3"), ("x", "<f8"), ("y_follows", "V1"), ("y", "<f8")])
"""A point as a polygon holds it on the wire: field 1 of 18 bytes, in which fields 1 and 2 are doubles."""


def to_polygon(points: NDArray[np.float64]) -> pb.Polygon:
    """Return points as a message, by way of its bytes: making point by point takes eight times as long."""
    wire = np.empty(len(points), _POINT)
    wire["point"], wire["y_follows"] = b"\x0a\x12\x09", b"\x11"
    wire["x"], wire["y"] = points.T
    return pb.Polygon.FromString(wire.tobytes())


def _boundary(boundary: Boundary) -> pb.Boundary:
    return pb.Boundary(outer=to_polygon(boundary.outer), holes=map(to_polygon, boundary.holes))


def _agreement(agreement: Agreement) -> pb.Agreement:
    return pb.Agreement(
        dice=agreement.dice,
        apd_mm=agreement.apd_mm,
        hausdorff_mm=agreement.hausdorff_mm,
        good=agreement.good,
    )


def _plausibility(plausibility: Plausibility) -> pb.Plausibility:
    offset_mm = plausibility.offset_mm
    return pb.Plausibility(
        flags=sorted(_FLAGS[flag] for flag in plausibility.flags),
        offset=None if offset_mm is None else _offset(offset_mm),
    )


def _contour_shift(shift: Shift) -> pb.ContourShift:
    return pb.ContourShift(
        slices=shift.slices,
        mean=_offset(shift.mean_mm),
        standard_error=_offset(shift.standard_error_mm),
        systematic=shift.systematic,
    )


def _offset(offset_mm: tuple[float, float]) -> pb.Offset:
    return pb.Offset(x_mm=offset_mm[0], y_mm=offset_mm[1])


def to_model(model: ModelIdentity) -> pb.ModelIdentity:
    """Return the message that names a model."""
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
