"""Hostile files, and all that pydicom ships, through a live server."""

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
import pydicom
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from fuzz.hostile import hostile_requests, make_slice
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_export.engines.base import Engine
from lvseg_serve import defaults
from lvseg_serve.answers import ServerInfo

SHIPPED = Path(pydicom.data.data_manager.DATA_ROOT)
METHOD = "/lvseg_api.v1.SegmentationService/Segment"


@pytest.fixture
def info(info: ServerInfo) -> ServerInfo:
    """That of a server which takes messages as large as lvseg-serve does by default."""
    limits = dataclasses.replace(info.limits, max_message_bytes=defaults.MAX_MESSAGE_MIB * 2**20)
    return dataclasses.replace(info, limits=limits)


@pytest.fixture
def segment(
    serving: Callable[[Engine], AbstractContextManager[str]], engine: Engine
) -> Iterator[grpc.UnaryUnaryMultiCallable]:
    """Send a request as bytes; gives the answer."""
    with serving(engine) as address, grpc.insecure_channel(address) as channel:
        yield channel.unary_unary(METHOD, response_deserializer=pb.SegmentResponse.FromString)


def reason_of(segment: grpc.UnaryUnaryMultiCallable, request: bytes) -> str:
    """Return the reason of a refusal, "" for none, or the name of any status but that of a refusal."""
    answer = segment.future(request, timeout=60)
    error = answer.exception()
    if error is None:
        return ""
    info = error_details_pb2.ErrorInfo()
    if answer.code() is grpc.StatusCode.INVALID_ARGUMENT:
        rpc_status.from_call(error).details[0].Unpack(info)
    return info.reason or answer.code().name


def test_every_hostile_request_is_refused_for_its_reason_and_the_next_slice_is_served(
    segment: grpc.UnaryUnaryMultiCallable,
) -> None:
    good = pb.SegmentRequest(dicom=make_slice(64, 64)).SerializeToString()
    expected, found = {}, {}
    for hostile in hostile_requests():
        expected[hostile.name] = hostile.reason
        found[hostile.name] = reason_of(segment, hostile.request)
    assert found == expected
    assert reason_of(segment, good) == ""


def test_every_file_that_pydicom_ships_gives_a_mask_or_a_reason(
    segment: grpc.UnaryUnaryMultiCallable,
) -> None:
    files = [path for path in SHIPPED.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")]
    reasons = {path.name: reason_of(segment, request_of(path)) for path in files}
    assert len(files) > 150
    assert reasons["MR_small.dcm"] == ""
    assert reasons["MR_truncated.dcm"] == "TRUNCATED_PIXEL_DATA"
    assert reasons["image_dfl.dcm"] == "DEFLATED"
    assert reasons["rtplan.dcm"] == "NO_PIXEL_DATA"
    assert reasons["README.txt"] == "NOT_DICOM"
    assert not {code.name for code in grpc.StatusCode} & set(reasons.values())


def request_of(path: Path) -> bytes:
    spacing = pb.PixelSpacing(between_rows_mm=1.5, between_columns_mm=1.5)  # many files have none
    return pb.SegmentRequest(dicom=path.read_bytes(), frame=1, pixel_spacing=spacing).SerializeToString()
