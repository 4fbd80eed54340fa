"""Requests that are refused: the caller is told what was found, what was expected and what to do."""

from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from lvseg.errors import InputError
from lvseg_serve.rpc.kserve.pixels import PixelsModel

Tensor = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor

SHAPE = [1, 1, 32, 40]
ZEROS = bytes(4 * 32 * 40)


@pytest.fixture
def stub(address: str) -> Iterator[GRPCInferenceServiceStub]:
    with grpc.insecure_channel(address) as channel:
        yield GRPCInferenceServiceStub(channel)


def request(
    *tensors: Tensor, raw: tuple[bytes, ...] = (), model: str = "threshold", **fields
) -> pb.ModelInferRequest:
    return pb.ModelInferRequest(model_name=model, inputs=tensors, raw_input_contents=raw, **fields)


def pixels(
    name: str = "pixels", datatype: str = "FP32", shape: list[int] = SHAPE, **fields
) -> pb.ModelInferRequest.InferInputTensor:
    return Tensor(name=name, datatype=datatype, shape=shape, **fields)


def dicom(**fields) -> pb.ModelInferRequest.InferInputTensor:
    return Tensor(name="dicom", datatype="BYTES", shape=[1], **fields)


def refused(stub: GRPCInferenceServiceStub, message: pb.ModelInferRequest) -> tuple[str, str]:
    """The reason and the text of the refusal, which blames the caller."""
    with pytest.raises(grpc.RpcError) as caught:
        stub.ModelInfer(message)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, caught.value
    info = error_details_pb2.ErrorInfo()
    assert rpc_status.from_call(caught.value).details[0].Unpack(info)
    return info.reason, caught.value.details()


def test_values_may_come_one_by_one(stub: GRPCInferenceServiceStub) -> None:
    values = np.full(32 * 40, 100, dtype=np.float32)
    values[7] = 1000
    answer = stub.ModelInfer(request(pixels(contents=pb.InferTensorContents(fp32_contents=values))))
    mask = np.frombuffer(answer.raw_output_contents[0], np.uint8)
    assert np.flatnonzero(mask).tolist() == [7]


def test_a_dicom_file_and_what_comes_with_it_may_come_one_by_one(
    stub: GRPCInferenceServiceStub, make_dicom: Callable[..., bytes], ventricle: NDArray[np.bool_]
) -> None:
    file = make_dicom(np.where(ventricle, 1000, 100), spacing=None)
    answer = stub.ModelInfer(
        request(
            dicom(contents=pb.InferTensorContents(bytes_contents=[file])),
            Tensor(
                name="frame", datatype="UINT32", shape=[1], contents=pb.InferTensorContents(uint_contents=[1])
            ),
            Tensor(
                name="pixel_spacing",
                datatype="FP64",
                shape=[2],
                contents=pb.InferTensorContents(fp64_contents=[1.5, 1.5]),
            ),
            model="threshold-dicom",
            outputs=[Output(name="area_mm2")],
        )
    )
    assert np.frombuffer(answer.raw_output_contents[0], "<f8").tolist() == [900.0]


@pytest.mark.parametrize(
    "message",
    [
        request(*[Tensor()] * 65),
        request(pixels(contents=pb.InferTensorContents(int_contents=[0] * 70_000))),
        request(dicom(contents=pb.InferTensorContents(bytes_contents=[b""] * 65))),
        request(*[pixels(shape=[1] * 10_000)] * 7),
        request(model="x" * 70_000),
    ],
    ids=["inputs", "whole numbers", "elements", "sides", "a name"],
)
def test_a_message_that_would_grow_in_memory_is_refused_before_it_is_parsed(
    stub: GRPCInferenceServiceStub, message: pb.ModelInferRequest
) -> None:
    reason, text = refused(stub, message)
    assert reason == "MALFORMED_MESSAGE"
    assert text.startswith("the message is malformed: it has more than")


def test_bytes_that_are_no_message_do_not_end_a_stream(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stream = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            response_deserializer=pb.ModelStreamInferResponse.FromString,
        )
        good = request(pixels(), raw=(ZEROS,), id="good").SerializeToString()
        bad, answer = stream(iter([b"\xff\xff", good]))
    assert bad.error_message.startswith("the message is malformed: it is cut off")
    assert (answer.error_message, answer.infer_response.id) == ("", "good")


@pytest.mark.parametrize(
    ("message", "reason", "text"),
    [
        (
            request(pixels(datatype="FP16"), raw=(ZEROS,)),
            "WRONG_TYPE",
            "input 'pixels' is FP16, expected FP32; convert it",
        ),
        (
            request(pixels(datatype="BOOL"), raw=(ZEROS,)),
            "WRONG_TYPE",
            "input 'pixels' is BOOL, expected FP32; convert it",
        ),
        (
            request(pixels(datatype=""), raw=(ZEROS,)),
            "WRONG_TYPE",
            "input 'pixels' is of no type of the protocol, expected FP32; convert it",
        ),
        (
            request(pixels(shape=[32, 40]), raw=(ZEROS,)),
            "WRONG_SHAPE",
            "input 'pixels' has shape [32, 40], expected [-1, 1, -1, -1] with -1 for any side from 1 on; reshape it",
        ),
        (
            request(pixels(shape=[-1, 1, 32, -40]), raw=(ZEROS,)),
            "WRONG_SHAPE",
            "input 'pixels' has shape [-1, 1, 32, -40], expected [-1, 1, -1, -1] with -1 for any side from 1 on; "
            "reshape it",
        ),
        (
            request(pixels(shape=[1, 3, 32, 40]), raw=(3 * ZEROS,)),
            "WRONG_SHAPE",
            "input 'pixels' has shape [1, 3, 32, 40], expected [-1, 1, -1, -1] with -1 for any side from 1 on; "
            "reshape it",
        ),
        (
            request(pixels(), raw=(ZEROS[:-1],)),
            "WRONG_SIZE",
            "input 'pixels' has 5119 bytes for shape [1, 1, 32, 40], expected 5120 bytes; "
            "send little-endian values in row-major order",
        ),
        (
            request(pixels(shape=[2**62, 1, 2**62, 2**62]), raw=(ZEROS,)),
            "WRONG_SIZE",
            f"input 'pixels' has 5120 bytes for shape [{2**62}, 1, {2**62}, {2**62}], expected {2**188} bytes; "
            "send little-endian values in row-major order",
        ),
        (
            request(pixels(contents=pb.InferTensorContents(fp32_contents=[1.0]))),
            "WRONG_SIZE",
            "input 'pixels' has 1 element(s) for shape [1, 1, 32, 40], expected 1280 element(s); "
            "send as many as the shape says",
        ),
        (
            request(pixels()),
            "WRONG_SIZE",
            "input 'pixels' has 0 element(s) for shape [1, 1, 32, 40], expected 1280 element(s); "
            "send as many as the shape says",
        ),
        (
            request(pixels(contents=pb.InferTensorContents(fp64_contents=[1.0] * 1280))),
            "WRONG_CONTENTS",
            "input 'pixels' came in fp64_contents, expected fp32_contents; send it there or raw",
        ),
        (
            request(pixels(contents=pb.InferTensorContents(fp32_contents=[1.0])), raw=(ZEROS,)),
            "TWO_CONTENTS",
            "input 'pixels' came raw and in fp32_contents, expected raw_input_contents or contents alone; "
            "send one of them",
        ),
        (
            request(pixels(), raw=(ZEROS, ZEROS)),
            "WRONG_COUNT",
            "2 raw_input_contents came for 1 inputs; send one for each, in their order",
        ),
        (
            request(),
            "MISSING_INPUT",
            "input 'pixels' is missing, expected FP32 of shape [-1, 1, -1, -1]; send it",
        ),
        (
            request(pixels(), pixels(), raw=(ZEROS, ZEROS)),
            "REPEATED_INPUT",
            "input 'pixels' came twice, expected each input once; send it once",
        ),
        (
            request(pixels("image"), raw=(ZEROS,)),
            "UNKNOWN_INPUT",
            "input number 1 is not one of this model, expected pixels; leave it out",
        ),
        (
            request(pixels(), raw=(ZEROS,), outputs=[Output(name="contour")]),
            "UNKNOWN_OUTPUT",
            "output number 1 is not one of this model, expected some of mask, probability; "
            "ask for those that you want",
        ),
        (
            request(pixels(), raw=(ZEROS,), outputs=[Output(name="mask"), Output(name="mask")]),
            "UNKNOWN_OUTPUT",
            "output number 2 was asked for before, expected some of mask, probability; ask for those that you want",
        ),
    ],
)
def test_tensors_that_are_not_the_models_are_refused(
    stub: GRPCInferenceServiceStub, message: pb.ModelInferRequest, reason: str, text: str
) -> None:
    assert refused(stub, message) == (reason, text)


@pytest.mark.parametrize(
    "message",
    [
        request(pixels(parameters={"shared_memory_region": pb.InferParameter(string_param="region")})),
        request(
            pixels(),
            raw=(ZEROS,),
            outputs=[
                Output(
                    name="mask", parameters={"shared_memory_region": pb.InferParameter(string_param="region")}
                )
            ],
        ),
    ],
    ids=["input", "output"],
)
def test_shared_memory_is_refused_by_name(
    stub: GRPCInferenceServiceStub, message: pb.ModelInferRequest
) -> None:
    reason, text = refused(stub, message)
    assert reason == "UNSUPPORTED_PARAMETER"
    assert text.endswith(
        "came with the parameter 'shared_memory_region', which is not supported here; send the values in the message"
    )


def test_a_sequence_is_refused_by_name(stub: GRPCInferenceServiceStub) -> None:
    message = request(pixels(), raw=(ZEROS,), parameters={"sequence_id": pb.InferParameter(int64_param=1)})
    assert refused(stub, message)[0] == "UNSUPPORTED_PARAMETER"


def test_a_parameter_that_means_nothing_here_is_passed_over(stub: GRPCInferenceServiceStub) -> None:
    message = request(pixels(), raw=(ZEROS,), parameters={"note": pb.InferParameter(string_param="mine")})
    assert len(stub.ModelInfer(message).outputs) == 2


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ([17, 1, 32, 32], "at most 16 slices"),
        ([1, 1, 31, 40], "sides of 32 to 4096"),
        ([1, 1, 40, 31], "sides of 32 to 4096"),
        ([1, 1, 32, 4097], "sides of 32 to 4096"),
    ],
)
def test_more_or_other_slices_than_an_engine_takes_never_reach_it(
    stub: GRPCInferenceServiceStub, engine, shape: list[int], expected: str
) -> None:
    reason, text = refused(stub, request(pixels(shape=shape), raw=(bytes(4 * np.prod(shape)),)))
    assert (reason, engine.shapes) == ("WRONG_SIZE", [])
    assert f"has shape {shape}, expected {expected}; " in text


async def test_more_pixels_than_fit_into_a_message_of_the_default_size_never_reach_the_engine(
    make_segmenter, engine
) -> None:
    segmenter = make_segmenter(engine)
    with pytest.raises(
        InputError, match="expected at most 4194304 pixels in all; send fewer slices a request"
    ):
        await PixelsModel("threshold", segmenter).infer(
            {"pixels": np.zeros((5, 1, 1024, 1024), dtype=np.float32)}, frozenset({"mask"})
        )
    await segmenter.close()
    assert engine.shapes == []


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_never_reach_the_engine(
    stub: GRPCInferenceServiceStub, engine, value: float
) -> None:
    values = np.zeros(SHAPE, dtype="<f4")
    values[0, 0, 3, 4] = value
    reason, _ = refused(stub, request(pixels(), raw=(values.tobytes(),)))
    assert (reason, engine.shapes) == ("NOT_FINITE", [])


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x05\0\0",
        b"\x05\0\0\0hell",
        b"\x05\0\0\0hello!",
        b"\x02\0\0\0he\x02\0\0\0he",
        b"\xff\xff\xff\xffhello",
    ],
    ids=["empty", "half a length", "too short", "too long", "two", "a length of 4 GiB"],
)
def test_raw_bytes_that_are_not_one_element_are_refused(stub: GRPCInferenceServiceStub, raw: bytes) -> None:
    assert refused(stub, request(dicom(), raw=(raw,), model="threshold-dicom"))[0] == "WRONG_SIZE"


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            pixels("contour", "BYTES", [1], contents=pb.InferTensorContents(bytes_contents=[b"\xff"])),
            "NOT_TEXT",
        ),
        (
            pixels("contour", "BYTES", [1], contents=pb.InferTensorContents(bytes_contents=[b"hello"])),
            "NOT_TWO_NUMBERS",
        ),
        (
            pixels("frame", "UINT32", [1], contents=pb.InferTensorContents(uint_contents=[7])),
            "NO_SUCH_FRAME",
        ),
    ],
    ids=["no text", "no contour", "no such frame"],
)
def test_what_comes_with_a_dicom_file_is_held_to_the_same_rules_as_for_segment(
    stub: GRPCInferenceServiceStub, dicom: bytes, more: Tensor, reason: str
) -> None:
    file = Tensor(
        name="dicom", datatype="BYTES", shape=[1], contents=pb.InferTensorContents(bytes_contents=[dicom])
    )
    assert refused(stub, request(file, more, model="threshold-dicom"))[0] == reason


def test_a_text_file_is_refused_as_segment_refuses_it(stub: GRPCInferenceServiceStub) -> None:
    message = request(
        dicom(contents=pb.InferTensorContents(bytes_contents=[b"hello"])), model="threshold-dicom"
    )
    assert refused(stub, message)[0] == "NOT_DICOM"
