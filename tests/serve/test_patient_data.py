"""A word planted wherever a request has text must come out of the server nowhere."""

import contextlib
import io
import logging
import struct
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest

from lvseg.errors import EngineError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_serve.logs import AccessLog, LogFormat, start_logging
from tests.serve.planted import (
    LONG_VRS,
    TEXT_VRS,
    WORD,
    all_outputs,
    assert_nowhere,
    planted_dicom,
    refusals,
    said,
    spellings,
)

_TRIES = 50
"""For what depends on who is faster."""


def too_late(stub: SegmentationServiceStub, request: pb.SegmentRequest) -> None:
    """Send a request until its time is up before the answer is there."""
    for _ in range(_TRIES):
        stub.Segment(request, timeout=1e-3)


def exercise(channel: grpc.Channel) -> dict[str, bytes]:
    """Call a server in every way that there is; return what it said each time."""
    stub = SegmentationServiceStub(channel)
    labelled = [("x-patient", WORD), ("x-patient-bin", WORD.encode())]
    whole = pb.SegmentRequest(dicom=planted_dicom())
    heard = {"answer": stub.Segment(whole, metadata=labelled).SerializeToString()}
    heard["info"] = stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=labelled).SerializeToString()
    for name, (request, reason) in refusals().items():
        with pytest.raises(grpc.RpcError) as caught:
            stub.Segment(request, metadata=labelled)
        heard[name] = said(caught.value)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, (name, heard[name])
        assert reason.encode() in heard[name], name

    bad, _ = next(iter(refusals().values()))
    series = [
        pb.SegmentStreamRequest(id="good", slice=whole),
        pb.SegmentStreamRequest(id="bad", slice=bad),
        pb.SegmentStreamRequest(id="part", dicom_part=WORD.encode()),
    ]
    answers = list(stub.SegmentStream(iter(series), metadata=labelled))
    assert [answer.WhichOneof("outcome") for answer in answers].count("error") == 2
    heard["stream"] = b"\n".join(answer.SerializeToString() for answer in answers)

    raw = channel.unary_unary("/lvseg_api.v1.SegmentationService/Segment")
    made_up = channel.unary_unary(f"/{WORD}/{WORD}")
    huge = pb.SegmentRequest(dicom=WORD.encode() * 2**18).SerializeToString()
    contour = b"\x22" + bytes([len(WORD) + 3, 0x12, len(WORD) + 1]) + WORD.encode() + b"\xff"  # not UTF-8
    for name, call, message, code in (
        ("too long a message", raw, huge, grpc.StatusCode.RESOURCE_EXHAUSTED),
        ("no message", raw, WORD.encode(), None),
        ("a message with broken text", raw, contour, None),
        ("no method", made_up, WORD.encode(), grpc.StatusCode.UNIMPLEMENTED),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(message, metadata=labelled)
        heard[name] = said(caught.value)
        assert code in (None, caught.value.code()), (name, heard[name])

    with pytest.raises(grpc.RpcError) as caught:
        too_late(stub, whole)
    heard["deadline"] = said(caught.value)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    gone = stub.Segment.future(whole)
    gone.cancel()
    for _ in range(_TRIES):  # the server may be faster
        crowd = [stub.Segment.future(whole) for _ in range(32)]
        codes = {call.code() for call in crowd}
        if grpc.StatusCode.RESOURCE_EXHAUSTED in codes:
            break
    assert codes == {grpc.StatusCode.OK, grpc.StatusCode.RESOURCE_EXHAUSTED}
    heard["crowd"] = b"\n".join(said(call) for call in crowd)
    return heard


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_planted_word_comes_out_of_a_server_nowhere(
    serving_process: Callable[..., contextlib.AbstractContextManager[object]],
    temporary: Path,
    log_format: str,
) -> None:
    outputs = all_outputs(serving_process, temporary, exercise, "--log-format", log_format)
    assert outputs["log"].count(b"OVERLOAD") > 0
    assert outputs["log"].count(b"NOT_RECEIVED") >= 1  # a deadline may be up before its message is there
    assert outputs["log"].count(b"MALFORMED_MESSAGE") == 2
    assert outputs["log"].count(b"NOT_TWO_NUMBERS") == 1
    assert_nowhere(outputs)


@pytest.fixture
def logged(request: pytest.FixtureRequest) -> Iterator[io.StringIO]:
    """What a server in this process logs, as one that was started does; afterwards this process's log is as before."""
    root, stream = logging.getLogger(), io.StringIO()
    own = logging.getLogger("lvseg_serve")
    before = root.handlers, root.level, own.level, logging.raiseExceptions
    hooks = warnings.showwarning, sys.excepthook, threading.excepthook, sys.unraisablehook
    start_logging(LogFormat(request.param), "DEBUG", stream=stream)
    yield stream
    root.handlers, level, own_level, logging.raiseExceptions = before
    root.setLevel(level)
    own.setLevel(own_level)
    warnings.showwarning, sys.excepthook, threading.excepthook, sys.unraisablehook = hooks


@pytest.mark.parametrize("logged", ["text", "json"], indirect=True)
def test_an_engine_that_fails_over_a_slice_tells_nobody_what_was_in_it(
    serving: Callable[..., contextlib.AbstractContextManager[str]],
    failing_engine: Callable[[Exception], object],
    logged: io.StringIO,
) -> None:
    heard = _fail(serving, failing_engine(RuntimeError(WORD)))
    assert "RuntimeError: (text withheld)" in logged.getvalue()
    assert_nowhere({"log": logged.getvalue().encode(), "status": heard})


@pytest.mark.parametrize("logged", ["text", "json"], indirect=True)
def test_the_search_finds_a_word_that_a_real_log_does_hold(
    serving: Callable[..., contextlib.AbstractContextManager[str]],
    failing_engine: Callable[[Exception], object],
    logged: io.StringIO,
) -> None:
    """Messages of lvseg's own errors are logged: one that broke its promise would be found here."""
    _fail(serving, failing_engine(EngineError(f"a slice of {WORD} broke")))
    with pytest.raises(AssertionError, match=f"log: .*{WORD}"):
        assert_nowhere({"log": logged.getvalue().encode()})


def _fail(serving: Callable[..., contextlib.AbstractContextManager[str]], engine: object) -> bytes:
    with (
        serving(engine, guarded={"observer": AccessLog()}) as address,
        grpc.insecure_channel(address) as channel,
    ):
        with pytest.raises(grpc.RpcError) as caught:
            SegmentationServiceStub(channel).Segment(pb.SegmentRequest(dicom=planted_dicom()))
        return said(caught.value)


@pytest.mark.parametrize("spelling", range(5))
@pytest.mark.parametrize("change", [bytes.lower, bytes.upper])
def test_the_search_finds_every_spelling(spelling: int, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(AssertionError, match="metrics: "):
        assert_nowhere(
            {"log": b"nothing", "metrics": b"some text " + change(spellings(WORD)[spelling]) + b" more"}
        )


def test_the_planted_file_holds_the_word_in_every_kind_of_text() -> None:
    dicom = planted_dicom()
    for vr in TEXT_VRS:
        length = struct.pack("<xxI" if vr in LONG_VRS else "<H", 10)
        assert dicom.count(vr.encode() + length + WORD.encode()) >= 5, (
            vr
        )  # private, and twice in each of two sequences
