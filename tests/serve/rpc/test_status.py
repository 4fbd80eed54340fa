import inspect
import logging

import grpc
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2

from lvseg import errors
from lvseg.errors import DicomError, EngineError, InputError, LvsegError, OverloadError
from lvseg_serve.rpc.status import STATUS, to_status

OUR_ERRORS = {
    error
    for _, error in inspect.getmembers(errors, inspect.isclass)
    if issubclass(error, LvsegError) and error is not LvsegError
}


def _detail(status: status_pb2.Status, kind: type) -> object:
    for detail in status.details:
        message = kind()
        if detail.Unpack(message):
            return message
    raise AssertionError(f"no {kind.__name__}")


def test_every_error_class_has_a_status() -> None:
    assert set(STATUS) == OUR_ERRORS


def test_only_input_errors_blame_the_caller() -> None:
    blamed = {error for error, code in STATUS.items() if code is grpc.StatusCode.INVALID_ARGUMENT}
    assert all(issubclass(error, InputError) for error in blamed)


def test_bad_input_goes_back_with_reason_field_and_expectation() -> None:
    error = DicomError("spacing is 0", reason="BAD_SPACING", field="PixelSpacing", expected="above 0 mm")
    status = to_status(error)
    assert (status.code, status.message) == (code_pb2.INVALID_ARGUMENT, "spacing is 0")
    assert _detail(status, error_details_pb2.ErrorInfo) == error_details_pb2.ErrorInfo(
        reason="BAD_SPACING", domain="lvseg"
    )
    assert _detail(status, error_details_pb2.BadRequest) == error_details_pb2.BadRequest(
        field_violations=[{"field": "PixelSpacing", "description": "above 0 mm"}]
    )


def test_an_overload_says_when_to_come_again() -> None:
    status = to_status(OverloadError("64 slices are under way", retry_after_s=1.25))
    assert (status.code, status.message) == (code_pb2.RESOURCE_EXHAUSTED, "64 slices are under way")
    assert _detail(status, error_details_pb2.RetryInfo).retry_delay.ToMilliseconds() == 1250
    assert _detail(status, error_details_pb2.ErrorInfo).reason == "OVERLOAD"


def test_bad_input_without_a_field_has_no_field_violation() -> None:
    status = to_status(InputError("nothing came", reason="EMPTY"))
    assert len(status.details) == 1


def test_a_long_message_still_fits_into_grpc_metadata() -> None:
    long = "x" * 10_000
    status = to_status(InputError(long, reason="LONG", field=long, expected=long))
    assert len(status.SerializeToString()) < 4096
    assert status.message.endswith("...")


@pytest.mark.parametrize("error", [EngineError("/srv/bundle broke"), ZeroDivisionError("Planted^Name")])
def test_a_failure_of_the_server_shows_the_caller_a_reference_alone(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    status = to_status(error)
    info = _detail(status, error_details_pb2.ErrorInfo)
    assert isinstance(info, error_details_pb2.ErrorInfo)
    assert (status.code, info.reason) == (code_pb2.INTERNAL, "INTERNAL")
    assert info.metadata["reference"] in status.message
    assert str(error) not in status.message
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert info.metadata["reference"] in record.getMessage()


def test_an_error_that_is_not_listed_is_our_fault(caplog: pytest.LogCaptureFixture) -> None:
    class NewError(InputError):
        pass

    assert to_status(NewError("new", reason="NEW")).code == code_pb2.INTERNAL
