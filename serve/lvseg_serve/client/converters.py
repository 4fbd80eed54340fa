"""Between protobuf messages and the classes that both clients take and return."""

from collections.abc import Collection

import numpy as np
from google.protobuf import json_format
from numpy.typing import ArrayLike, NDArray

from lvseg.contour import Boundary
from lvseg.errors import ServerError
from lvseg.metrics import Agreement
from lvseg.plausibility import Flag, Plausibility
from lvseg.shift import Shift
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_serve.answers import (
    ContourForm,
    Limits,
    ModelIdentity,
    Output,
    Segmentation,
    ServerInfo,
    StageTimings,
)
from lvseg_serve.bits import decode_bits
from lvseg_serve.floats import decode_floats
from lvseg_serve.png import decode_mask, png_shape
from lvseg_serve.reference import EncodedMask, given
from lvseg_serve.runs import decode_runs

_CONTOUR_FORMS: dict[int, ContourForm] = {
    pb.ContourForm.Value(f"CONTOUR_FORM_{form.name}"): form for form in ContourForm
}
_FLAGS: dict[int, Flag] = {
    pb.CONTOUR_FLAG_EPICARDIUM: Flag.EPICARDIUM,
    pb.CONTOUR_FLAG_OTHER_FRAME: Flag.OTHER_FRAME,
    pb.CONTOUR_FLAG_OTHER_PLACE: Flag.OTHER_PLACE,
}


def to_message(
    dicom: bytes,
    contour: ArrayLike | str | None,
    frame: int | None,
    pixel_spacing: tuple[float, float] | None,
    outputs: Collection[Output],
) -> pb.SegmentRequest:
    """Return the message for one slice; the arguments are those of :meth:`Client.segment`.

    Raises:
        ValueError: If the contour is an array of neither points nor a mask, ``frame`` is not a positive 32-bit
            number, or no output is named.
    """
    if frame is not None and not 1 <= frame < 2**32:
        raise ValueError(f"frames are counted from 1, got {frame}")
    if not outputs:
        raise ValueError("expected at least one output, got none")
    return pb.SegmentRequest(
        dicom=dicom,
        frame=frame,
        pixel_spacing=(
            None
            if pixel_spacing is None
            else pb.PixelSpacing(between_rows_mm=pixel_spacing[0], between_columns_mm=pixel_spacing[1])
        ),
        contour=None if contour is None else _contour(contour),
        outputs=[pb.Output.Value(f"OUTPUT_{Output(output).name}") for output in outputs],
    )


def _contour(contour: ArrayLike | str) -> pb.Contour:
    form = given(contour)
    if isinstance(form, str):
        return pb.Contour(sunnybrook_text=form)
    if isinstance(form, EncodedMask):
        return pb.Contour(mask_png=form.content)
    return pb.Contour(points=pb.Polygon(points=[pb.Point(x=x, y=y) for x, y in form.tolist()]))


def from_segment_response(message: pb.SegmentResponse, outputs: Collection[Output]) -> Segmentation:
    """Return the answer that a message carries.

    Args:
        message: The answer.
        outputs: Those that were asked for.

    Raises:
        ServerError: If a mask or map that was asked for is not there, or not of the shape that the message states.
    """
    try:
        mask, probability = _mask(message, outputs), _probability(message, outputs)
    except ValueError as error:
        raise ServerError(f"the server's answer cannot be read ({error})") from error
    return Segmentation(
        rows=message.rows,
        columns=message.columns,
        frame=message.frame,
        pixel_spacing=(message.pixel_spacing.between_rows_mm, message.pixel_spacing.between_columns_mm),
        mask=mask,
        contour=_points(message.contour) if message.HasField("contour") else None,
        boundaries=_boundaries(message) if Output.BOUNDARIES in outputs else None,
        probability=probability,
        area_mm2=message.area_mm2,
        agreement=_agreement(message.agreement) if message.HasField("agreement") else None,
        contour_form=_contour_form(message.contour_form),
        plausibility=_plausibility(message.plausibility) if message.HasField("plausibility") else None,
        model=from_model(message.model),
        timings=StageTimings(
            decode_ms=message.timings.decode_ms,
            resample_ms=message.timings.resample_ms,
            inference_ms=message.timings.inference_ms,
            postprocess_ms=message.timings.postprocess_ms,
            compare_ms=message.timings.compare_ms,
            total_ms=message.timings.total_ms,
        ),
    )


def from_server_info_response(message: pb.GetServerInfoResponse) -> ServerInfo:
    """Return what a server says of itself."""
    return ServerInfo(
        model=from_model(message.model),
        architecture=message.architecture,
        labels=tuple(message.labels),
        channels=message.input.channels,
        working_spacing_mm=message.input.working_spacing_mm,
        training=json_format.MessageToDict(message.training),
        threads=message.threads,
        limits=Limits(
            max_message_bytes=message.limits.max_message_bytes,
            max_side=message.limits.max_side,
            max_working_pixels=message.limits.max_working_pixels,
            max_pending=message.limits.max_pending,
            max_stream_pending=message.limits.max_stream_pending,
        ),
        versions=dict(message.versions),
    )


def _mask(message: pb.SegmentResponse, outputs: Collection[Output]) -> NDArray[np.bool_] | None:
    """Return the mask from the form that is read fastest, of those in which it came."""
    shape = (message.rows, message.columns)
    if Output.MASK_BITS in outputs:
        return decode_bits(message.mask_bits, shape)
    if Output.MASK_RUNS in outputs:
        return decode_runs(message.mask_runs, shape)
    if Output.MASK not in outputs:
        return None
    if png_shape(message.mask_png) != shape:
        raise ValueError(f"expected a mask of {shape}, got one of {png_shape(message.mask_png)}")
    return decode_mask(message.mask_png)


def _probability(message: pb.SegmentResponse, outputs: Collection[Output]) -> NDArray[np.float32] | None:
    if Output.PROBABILITY not in outputs:
        return None
    return decode_floats(message.probability, (message.rows, message.columns))


def _boundaries(message: pb.SegmentResponse) -> tuple[Boundary, ...]:
    return tuple(
        Boundary(_points(boundary.outer), tuple(map(_points, boundary.holes)))
        for boundary in message.boundaries
    )


def _contour_form(number: int) -> ContourForm | None:
    return _CONTOUR_FORMS.get(number)  # one that this client does not know is one that it did not send


def _points(polygon: pb.Polygon) -> NDArray[np.float64]:
    return np.array([(point.x, point.y) for point in polygon.points], dtype=np.float64).reshape(-1, 2)


def _agreement(message: pb.Agreement) -> Agreement:
    return Agreement(
        dice=message.dice,
        apd_mm=message.apd_mm if message.HasField("apd_mm") else None,
        hausdorff_mm=message.hausdorff_mm if message.HasField("hausdorff_mm") else None,
        good=message.good,
    )


def _plausibility(message: pb.Plausibility) -> Plausibility:
    return Plausibility(
        # A newer server may know more flags than this client, whose other figures hold all the same.
        flags=frozenset(_FLAGS[number] for number in message.flags if number in _FLAGS),
        offset_mm=_offset_mm(message.offset) if message.HasField("offset") else None,
    )


def _shift(message: pb.ContourShift) -> Shift:
    return Shift(
        slices=message.slices,
        mean_mm=_offset_mm(message.mean),
        standard_error_mm=_offset_mm(message.standard_error),
    )


def _offset_mm(message: pb.Offset) -> tuple[float, float]:
    return message.x_mm, message.y_mm


def from_model(message: pb.ModelIdentity) -> ModelIdentity:
    """Return which model a message names."""
    return ModelIdentity(
        name=message.name,
        version=message.version,
        sha256=message.sha256,
        engine=message.engine,
        engine_version=message.engine_version,
        precision=message.precision,
    )
