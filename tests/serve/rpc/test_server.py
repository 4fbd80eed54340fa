"""The real server, on a loopback port, called through its real stub."""

import asyncio
import gc
import logging
import socket
import tracemalloc
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status
from numpy.typing import NDArray

from lvseg.errors import EngineError, EngineLostError, OptionError, ServerError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_export.engines.base import Engine
from lvseg_serve.answers import ServerInfo
from lvseg_serve.bits import encode_bits
from lvseg_serve.png import decode_mask, encode_mask
from lvseg_serve.rpc.server import SERVICE, running_server
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.state import ServerState

OUTPUT_FIELDS = {"mask_png", "mask_runs", "mask_bits", "contour", "boundaries", "probability"}
Serving = Callable[[Engine], AbstractAsyncContextManager[grpc.aio.Channel]]


def _info(error: grpc.aio.AioRpcError) -> error_details_pb2.ErrorInfo:
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(error).details[0].Unpack(info)
    assert info.domain == "lvseg"
    return info


def _violation(error: grpc.aio.AioRpcError) -> error_details_pb2.BadRequest.FieldViolation:
    request = error_details_pb2.BadRequest()
    assert rpc_status.from_call(error).details[1].Unpack(request)
    return request.field_violations[0]


async def test_a_slice_comes_back_as_mask_outline_and_figures(
    stub: SegmentationServiceStub, dicom: bytes, ventricle: NDArray[np.bool_]
) -> None:
    answer = await stub.Segment(pb.SegmentRequest(dicom=dicom))
    np.testing.assert_array_equal(decode_mask(answer.mask_png), ventricle)
    assert (answer.rows, answer.columns, answer.frame, answer.area_mm2) == (64, 72, 1, 900.0)
    assert answer.pixel_spacing == pb.PixelSpacing(between_rows_mm=1.5, between_columns_mm=1.5)
    assert len(answer.contour.points) == 80  # one for each pixel side around 20 x 20 pixels
    assert answer.timings.total_ms > 0
    assert not answer.HasField("agreement")


async def test_the_answer_says_which_model_gave_it(stub: SegmentationServiceStub, dicom: bytes) -> None:
    answer = await stub.Segment(pb.SegmentRequest(dicom=dicom))
    assert answer.model == pb.ModelIdentity(
        name="threshold",
        version="0123456789ab",
        sha256="ab" * 32,
        engine="threshold-cpu",
        engine_version="1.0",
        precision="fp32",
    )


@pytest.mark.parametrize("form", ["points", "sunnybrook_text"])
async def test_a_contour_is_compared_in_either_form(
    stub: SegmentationServiceStub, dicom: bytes, contour: NDArray[np.float64], form: str
) -> None:
    message = (
        pb.Contour(points=pb.Polygon(points=[pb.Point(x=x, y=y) for x, y in contour]))
        if form == "points"
        else pb.Contour(sunnybrook_text="".join(f"{x} {y}\n" for x, y in contour))
    )
    answer = await stub.Segment(pb.SegmentRequest(dicom=dicom, contour=message))
    assert (answer.agreement.dice, answer.agreement.hausdorff_mm, answer.agreement.good) == (1.0, 0.0, True)


async def test_distances_that_do_not_exist_are_absent(
    stub: SegmentationServiceStub, make_dicom: Callable[..., bytes], contour: NDArray[np.float64]
) -> None:
    points = pb.Polygon(points=[pb.Point(x=x, y=y) for x, y in contour])
    dark = make_dicom(np.full((64, 72), 100))
    answer = await stub.Segment(pb.SegmentRequest(dicom=dark, contour=pb.Contour(points=points)))
    assert answer.HasField("agreement")
    assert not answer.agreement.HasField("apd_mm")
    assert not answer.agreement.HasField("hausdorff_mm")
    assert not answer.HasField("contour")


@pytest.mark.parametrize(
    ("output", "field"),
    [
        (pb.OUTPUT_MASK, "mask_png"),
        (pb.OUTPUT_MASK_RUNS, "mask_runs"),
        (pb.OUTPUT_MASK_BITS, "mask_bits"),
        (pb.OUTPUT_CONTOUR, "contour"),
        (pb.OUTPUT_BOUNDARIES, "boundaries"),
        (pb.OUTPUT_PROBABILITY, "probability"),
    ],
)
async def test_only_the_output_that_is_asked_for_is_sent(
    stub: SegmentationServiceStub, dicom: bytes, output: pb.Output, field: str
) -> None:
    answer = await stub.Segment(pb.SegmentRequest(dicom=dicom, outputs=[output]))
    assert {descriptor.name for descriptor, _ in answer.ListFields()} & OUTPUT_FIELDS == {field}


async def test_without_a_word_of_outputs_come_mask_and_outline(
    stub: SegmentationServiceStub, dicom: bytes
) -> None:
    answer = await stub.Segment(pb.SegmentRequest(dicom=dicom))
    assert {descriptor.name for descriptor, _ in answer.ListFields()} & OUTPUT_FIELDS == {
        "mask_png",
        "contour",
    }


async def test_the_mask_is_the_same_in_each_of_its_forms(stub: SegmentationServiceStub, dicom: bytes) -> None:
    outputs = [pb.OUTPUT_MASK_RUNS, pb.OUTPUT_MASK_BITS]
    answer = await stub.Segment(pb.SegmentRequest(dicom=dicom, outputs=outputs))
    # 20 rows of 72 and 30 columns are background, then 20 times 20 pixels inside and 52 between two rows of them.
    assert list(answer.mask_runs) == [20 * 72 + 30, *[20, 52] * 19, 20, 22 + 24 * 72]
    # Pixel 20 * 72 + 30 = 1470 is bit 6 of byte 183.
    assert len(answer.mask_bits) == 64 * 72 // 8
    assert answer.mask_bits[:184] == bytes(183) + b"\xc0"


async def test_an_answer_that_fits_into_no_message_is_refused_with_what_to_do(
    stub: SegmentationServiceStub, make_dicom: Callable[..., bytes], info: ServerInfo
) -> None:
    large = make_dicom(
        np.full((600, 600), 100)
    )  # 720 kB, and 1.44 MB of probability, where 1 MiB is the limit
    with pytest.raises(grpc.aio.AioRpcError, match="ask for fewer outputs at a time") as caught:
        await stub.Segment(pb.SegmentRequest(dicom=large, outputs=[pb.OUTPUT_PROBABILITY]))
    assert info.limits.max_message_bytes == 2**20
    assert (caught.value.code(), _info(caught.value).reason) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "TOO_LARGE",
    )


@pytest.mark.parametrize("form", ["mask_png", "mask_bits"])
async def test_a_mask_is_compared_and_the_answer_says_that_it_was_one(
    stub: SegmentationServiceStub, dicom: bytes, ventricle: NDArray[np.bool_], form: str
) -> None:
    content = {"mask_png": encode_mask, "mask_bits": encode_bits}[form](ventricle)
    answer = await stub.Segment(pb.SegmentRequest(dicom=dicom, contour=pb.Contour(**{form: content})))
    assert (answer.agreement.dice, answer.agreement.apd_mm, answer.agreement.good) == (1.0, 0.0, True)
    assert pb.ContourForm.Name(answer.contour_form) == f"CONTOUR_FORM_{form.upper()}"


@pytest.mark.parametrize(
    ("contour", "reason"),
    [
        (pb.Contour(mask_png=encode_mask(np.ones((72, 64), dtype=bool))), "WRONG_SHAPE"),
        (pb.Contour(mask_png=encode_mask(np.zeros((64, 72), dtype=bool))), "EMPTY_MASK"),
        (pb.Contour(mask_png=b"hello"), "NOT_A_MASK"),
        (pb.Contour(mask_bits=bytes(575)), "WRONG_SHAPE"),
        (pb.Contour(mask_bits=bytes(576)), "EMPTY_MASK"),
    ],
    ids=["transposed", "empty PNG", "no PNG", "a byte short", "empty bits"],
)
async def test_a_mask_that_does_not_fit_is_an_invalid_argument(
    stub: SegmentationServiceStub, dicom: bytes, contour: pb.Contour, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Segment(pb.SegmentRequest(dicom=dicom, contour=contour))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _info(caught.value).reason == reason
    assert _violation(caught.value).field == "contour"


async def test_a_text_file_is_an_invalid_argument_with_a_reason(stub: SegmentationServiceStub) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Segment(pb.SegmentRequest(dicom=b"hello"))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _info(caught.value).reason == "NOT_DICOM"


async def test_a_missing_pixel_spacing_names_the_field_and_what_was_expected(
    stub: SegmentationServiceStub, make_dicom: Callable[..., bytes]
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Segment(pb.SegmentRequest(dicom=make_dicom(np.zeros((8, 8)), spacing=None)))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _violation(caught.value).field == "PixelSpacing"
    assert _violation(caught.value).description


@pytest.mark.parametrize("spacing", [(0, 1.5), (-1, 1.5), (float("nan"), 1.5), (float("inf"), 1.5)])
async def test_an_impossible_pixel_spacing_is_an_invalid_argument(
    stub: SegmentationServiceStub, make_dicom: Callable[..., bytes], spacing: tuple[float, float]
) -> None:
    given = pb.PixelSpacing(between_rows_mm=spacing[0], between_columns_mm=spacing[1])
    dicom = make_dicom(np.zeros((8, 8)), spacing=None)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Segment(pb.SegmentRequest(dicom=dicom, pixel_spacing=given))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("frame", [0, 2, 2**32 - 1])
async def test_a_frame_that_does_not_exist_is_an_invalid_argument(
    stub: SegmentationServiceStub, dicom: bytes, frame: int
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Segment(pb.SegmentRequest(dicom=dicom, frame=frame))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("output", [pb.OUTPUT_UNSPECIFIED, 99])
async def test_an_unknown_output_is_an_invalid_argument(
    stub: SegmentationServiceStub, dicom: bytes, output: int
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Segment(pb.SegmentRequest(dicom=dicom, outputs=[output]))
    assert _info(caught.value).reason == "UNKNOWN_OUTPUT"
    assert _violation(caught.value).description == (
        "OUTPUT_MASK, OUTPUT_MASK_RUNS, OUTPUT_MASK_BITS, OUTPUT_CONTOUR, OUTPUT_BOUNDARIES, OUTPUT_PROBABILITY"
    )


@pytest.mark.parametrize(
    ("contour", "reason"),
    [
        (pb.Contour(), "EMPTY_CONTOUR"),
        (pb.Contour(sunnybrook_text="hello"), "NOT_TWO_NUMBERS"),
        (pb.Contour(sunnybrook_text=""), "TOO_FEW_POINTS"),
        (pb.Contour(points=pb.Polygon()), "TOO_FEW_POINTS"),
    ],
    ids=["without a form", "of words", "of no text", "of no points"],
)
async def test_a_contour_that_is_none_is_an_invalid_argument(
    stub: SegmentationServiceStub, dicom: bytes, contour: pb.Contour, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Segment(pb.SegmentRequest(dicom=dicom, contour=contour))
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert _info(caught.value).reason == reason
    assert _violation(caught.value).field == "contour"


async def test_a_message_above_the_limit_is_refused(stub: SegmentationServiceStub, info: ServerInfo) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Segment(pb.SegmentRequest(dicom=bytes(info.limits.max_message_bytes)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("error", [EngineError("/srv/model.onnx broke"), RuntimeError("Planted^Name")])
async def test_a_failing_engine_is_an_internal_error_that_the_log_explains(
    serving_channel: Serving,
    failing_engine: Callable[[Exception], Engine],
    dicom: bytes,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    async with serving_channel(failing_engine(error)) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SegmentationServiceStub(channel).Segment(pb.SegmentRequest(dicom=dicom))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert str(error) not in caught.value.details()
    (record,) = (record for record in caplog.records if record.levelno >= logging.ERROR)
    assert _info(caught.value).metadata["reference"] in record.getMessage()
    assert "Planted" not in caplog.text


async def test_a_failed_request_does_not_disturb_the_next(
    stub: SegmentationServiceStub, dicom: bytes
) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Segment(pb.SegmentRequest(dicom=b"hello"))
    assert (await stub.Segment(pb.SegmentRequest(dicom=dicom))).area_mm2 == 900.0


async def test_eight_callers_at_once_each_get_their_own_answer(
    stub: SegmentationServiceStub, make_dicom: Callable[..., bytes]
) -> None:
    async def area_mm2(rows: int) -> float:
        pixels = np.full((64, 72), 100)
        pixels[:rows] = 1000
        return (await stub.Segment(pb.SegmentRequest(dicom=make_dicom(pixels)))).area_mm2

    heights = [*range(1, 9)] * 4
    areas = await asyncio.gather(*map(area_mm2, heights))
    assert areas == [rows * 72 * 2.25 for rows in heights]


async def test_the_server_says_what_it_runs_and_accepts(
    stub: SegmentationServiceStub, info: ServerInfo
) -> None:
    answer = await stub.GetServerInfo(pb.GetServerInfoRequest())
    assert answer.model.name == "threshold"
    assert list(answer.labels) == ["background", "left ventricle"]
    assert answer.input == pb.InputContract(channels=1, working_spacing_mm=1.5)
    assert answer.limits.max_message_bytes == info.limits.max_message_bytes
    assert answer.training["options"]["epochs"] == 3
    assert answer.versions == {"lvseg": "0.1"}


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_the_server_and_its_service_are_healthy(channel: grpc.aio.Channel, service: str) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("service", ["", SERVICE])
async def test_health_says_what_the_state_says(
    info: ServerInfo, make_segmenter: Callable[[Engine], Segmenter], engine: Engine, service: str
) -> None:
    state = ServerState(info, serving=False)
    async with (
        running_server(make_segmenter(engine), state, listen="127.0.0.1:0") as address,
        grpc.aio.insecure_channel(address) as channel,
    ):
        health = health_pb2_grpc.HealthStub(channel)
        seen = []
        for why_not in (None, "", "the engine is blind", ""):
            if why_not is not None:
                await state.turn(why_not)
            seen.append((await health.Check(health_pb2.HealthCheckRequest(service=service))).status)
    serving, not_serving = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
    assert seen == [not_serving, serving, not_serving, serving]


async def test_a_lost_engine_is_unavailable_and_its_caller_told_to_come_again(
    serving_channel: Serving, failing_engine: Callable[[Exception], Engine], dicom: bytes
) -> None:
    async with serving_channel(failing_engine(EngineLostError("cudaErrorIllegalAddress"))) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await SegmentationServiceStub(channel).Segment(pb.SegmentRequest(dicom=dicom))
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert _info(caught.value).reason == "ENGINE_LOST"
    assert "cuda" not in caught.value.details()


async def test_reflection_lists_the_services(channel: grpc.aio.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
    services = {service.name async for answer in call for service in answer.list_services_response.service}
    assert services == {
        "lvseg_api.v1.SegmentationService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
    }


async def test_what_was_accepted_is_answered_when_the_server_stops(
    info: ServerInfo, make_segmenter: Callable[[Engine], Segmenter], gated_engine, dicom: bytes
) -> None:
    server = running_server(make_segmenter(gated_engine), info, listen="127.0.0.1:0")
    async with grpc.aio.insecure_channel(await server.__aenter__()) as channel:
        request = SegmentationServiceStub(channel).Segment(pb.SegmentRequest(dicom=dicom))
        health = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=SERVICE))
        assert (await health.read()).status == health_pb2.HealthCheckResponse.SERVING
        await asyncio.to_thread(gated_engine.entered.wait, 60)

        stopping = asyncio.create_task(server.__aexit__(None, None, None))
        assert (await health.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        health.cancel()
        gated_engine.gate.set()
        assert (await request).area_mm2 == 900.0
        await stopping


async def test_a_port_in_use_is_a_server_error_that_names_it(
    info: ServerInfo, make_segmenter: Callable[[Engine], Segmenter], engine: Engine
) -> None:
    async with running_server(make_segmenter(engine), info, listen="127.0.0.1:0") as address:
        with pytest.raises(ServerError, match=rf"cannot listen on {address} \(Address already in use\)"):
            await running_server(make_segmenter(engine), info, listen=address).__aenter__()


async def test_localhost_is_refused_when_one_of_its_addresses_is_taken(
    info: ServerInfo, make_segmenter: Callable[[Engine], Segmenter], engine: Engine
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = f"localhost:{other.getsockname()[1]}"
        with pytest.raises(ServerError, match="Address already in use"):
            await running_server(make_segmenter(engine), info, listen=listen).__aenter__()


async def test_an_address_of_another_machine_cannot_be_listened_on(
    info: ServerInfo, make_segmenter: Callable[[Engine], Segmenter], engine: Engine
) -> None:
    with pytest.raises(ServerError, match=r"cannot listen on 192\.0\.2\.1:50051"):
        await running_server(make_segmenter(engine), info, listen="192.0.2.1:50051").__aenter__()


async def test_an_address_without_a_port_is_an_option_error(
    info: ServerInfo, make_segmenter: Callable[[Engine], Segmenter], engine: Engine
) -> None:
    with pytest.raises(OptionError, match="--listen"):
        await running_server(make_segmenter(engine), info, listen="localhost").__aenter__()


async def test_what_refused_calls_leave_behind_holds_no_request(
    channel: grpc.aio.Channel, info: ServerInfo
) -> None:
    call = channel.unary_unary("/lvseg_api.v1.SegmentationService/Segment")
    request = pb.SegmentRequest(dicom=bytes(info.limits.max_message_bytes // 2)).SerializeToString()
    gc.collect()
    gc.disable()  # what it would free, hours may pass before it does
    tracemalloc.start()
    try:
        for _ in range(8):
            with pytest.raises(grpc.aio.AioRpcError, match="not a readable DICOM file"):
                await call(request)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert held < 3 * len(request)
