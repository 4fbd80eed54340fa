"""The planted word, sent by the Open Inference Protocol, must come out of the server nowhere either."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import pytest
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceStub

from lvseg_api.v1.segmentation_pb2 import SegmentRequest
from tests.serve.planted import WORD, all_outputs, assert_nowhere, planted_dicom, refusals, said

Tensor = pb.ModelInferRequest.InferInputTensor
Output = pb.ModelInferRequest.InferRequestedOutputTensor
TEXT = pb.InferParameter(string_param=WORD)
LABELLED = [("x-patient", WORD), ("x-patient-bin", WORD.encode())]


def tensor(name: str, *values: bytes, datatype: str = "BYTES", **fields: object) -> Tensor:
    contents = pb.InferTensorContents(bytes_contents=values)
    return Tensor(
        name=name, datatype=datatype, shape=[1], contents=contents, parameters={WORD: TEXT}, **fields
    )


def request(*tensors: Tensor, model: str = "threshold-dicom", **fields: object) -> pb.ModelInferRequest:
    """Make a request that has the word for an id and as a parameter that means nothing."""
    return pb.ModelInferRequest(model_name=model, id=WORD, parameters={WORD: TEXT}, inputs=tensors, **fields)


def as_tensors(message: SegmentRequest) -> list[Tensor]:
    """Return what carries a request of ``Segment`` here."""
    tensors = [tensor("dicom", message.dicom)]
    if message.HasField("frame"):
        contents = pb.InferTensorContents(uint_contents=[message.frame])
        tensors.append(Tensor(name="frame", datatype="UINT32", shape=[1], contents=contents))
    if message.HasField("contour"):
        tensors.append(tensor("contour", message.contour.sunnybrook_text.encode()))
    return tensors


def faults() -> dict[str, tuple[pb.ModelInferRequest, str]]:
    """Requests that are refused for what the protocol adds, with the reason that is expected."""
    dicom = tensor("dicom", planted_dicom())
    bare = Tensor(name="dicom", datatype="BYTES", shape=[1])
    secret = {"shared_memory_region": TEXT}
    return {
        "model": (request(dicom, model=WORD), "UNKNOWN_MODEL"),
        "version": (request(dicom, model_version=WORD), "UNKNOWN_VERSION"),
        "input": (request(dicom, tensor(WORD, WORD.encode())), "UNKNOWN_INPUT"),
        "input's type": (request(tensor("dicom", WORD.encode(), datatype=WORD)), "WRONG_TYPE"),
        "input's size": (request(tensor("dicom", WORD.encode(), WORD.encode())), "WRONG_SIZE"),
        "no input": (request(), "MISSING_INPUT"),
        "raw": (request(bare, raw_input_contents=[WORD.encode()]), "WRONG_SIZE"),
        "output": (request(dicom, outputs=[Output(name=WORD, parameters=secret)]), "UNKNOWN_OUTPUT"),
        "parameter": (request(dicom, outputs=[Output(name="mask", parameters=secret)]), "UNSUPPORTED_PARAMETER"),
        "contour": (request(dicom, tensor("contour", WORD.encode() + b"\xff")), "NOT_TEXT"),
        "pixels": (request(tensor("pixels", WORD.encode()), model="threshold"), "WRONG_TYPE"),
    }  # fmt: skip


def refused(call: Callable[..., object], message: object, reason: str) -> bytes:
    """Return all that is said of a refusal."""
    with pytest.raises(grpc.RpcError) as caught:
        call(message, metadata=LABELLED)
    heard = said(caught.value)
    assert reason.encode() in heard, heard
    return heard


def taken(answer: pb.ModelInferResponse) -> bytes:
    """Return an answer without the request's own id, which goes back to whoever sent it."""
    assert answer.id == WORD
    answer.ClearField("id")
    return answer.SerializeToString()


def exercise(channel: grpc.Channel) -> dict[str, bytes]:
    """Call every method with the word wherever it fits; return what the server said each time."""
    stub = GRPCInferenceServiceStub(channel)
    whole = request(tensor("dicom", planted_dicom()))
    heard = {"answer": taken(stub.ModelInfer(whole, metadata=LABELLED))}
    for name, (message, reason) in refusals().items():
        heard[name] = refused(stub.ModelInfer, request(*as_tensors(message)), reason)
    for name, (message, reason) in faults().items():
        heard[f"word as {name}"] = refused(stub.ModelInfer, message, reason)
    raw = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    heard["no message"] = refused(raw, WORD.encode(), "MALFORMED_MESSAGE")

    streamed = [whole, *(message for message, _ in faults().values())]
    good, *bad = stub.ModelStreamInfer(iter(streamed), metadata=LABELLED)
    heard["stream"] = taken(good.infer_response)
    for number, answer in enumerate(bad):
        assert answer.error_message
        heard[f"stream {number}"] = answer.error_message.encode() + taken(answer.infer_response)

    for method, message in {
        stub.ModelReady: pb.ModelReadyRequest(name=WORD, version=WORD),
        stub.ModelMetadata: pb.ModelMetadataRequest(name=WORD, version=WORD),
        stub.ModelConfig: pb.ModelConfigRequest(name=WORD, version=WORD),
        stub.ModelStatistics: pb.ModelStatisticsRequest(name=WORD, version=WORD),
    }.items():
        heard[f"{type(message).__name__}"] = refused(method, message, "UNKNOWN_MODEL")
    for method, message in {
        stub.RepositoryModelLoad: pb.RepositoryModelLoadRequest(repository_name=WORD, model_name=WORD),
        stub.SystemSharedMemoryRegister: pb.SystemSharedMemoryRegisterRequest(name=WORD, key=WORD),
        stub.TraceSetting: pb.TraceSettingRequest(model_name=WORD),
    }.items():
        heard[f"{type(message).__name__}"] = refused(method, message, "UNIMPLEMENTED")
    for method, message in {
        stub.ServerMetadata: pb.ServerMetadataRequest(),
        stub.ModelMetadata: pb.ModelMetadataRequest(name="threshold-dicom"),
        stub.ModelStatistics: pb.ModelStatisticsRequest(),
        stub.RepositoryIndex: pb.RepositoryIndexRequest(repository_name=WORD),
    }.items():
        heard[f"told by {type(message).__name__}"] = method(message, metadata=LABELLED).SerializeToString()
    return heard


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_planted_word_comes_out_of_a_server_nowhere(
    serving_process: Callable[..., AbstractContextManager[object]], temporary: Path, log_format: str
) -> None:
    outputs = all_outputs(serving_process, temporary, exercise, "--kserve", "--log-format", log_format)
    for reason in (b"UNKNOWN_MODEL", b"UNKNOWN_INPUT", b"NOT_TEXT", b"MALFORMED_MESSAGE", b"NOT_TWO_NUMBERS"):
        assert reason in outputs["log"]
    assert_nowhere(outputs)
