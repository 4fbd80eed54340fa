"""From the status of a failed call to the errors that both clients raise."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from lvseg.errors import InputError, LvsegError, SecurityError, ServerError
from lvseg_serve.client.security import Tls
from lvseg_serve.client.tls_faults import tls_fault
from lvseg_serve.observer import OVERLOAD

_DETAILS_KEY = "grpc-status-details-bin"
STREAM_REFUSED = "STREAM_REFUSED"
"""Reason of a call that gRPC's server turned away by itself, as it may when callers cancel many calls."""
NO_SERVER = "NO_SERVER"
"""Reason of a call that nobody answered: nobody listens there, or whoever did was gone before the answer."""
_STREAM_REFUSED = "RST_STREAM with error code 7"  # REFUSED_STREAM: nothing was done (RFC 9113, section 8.7)
# gRPC has nothing firmer: code, metadata and debug text are those of a connection that broke off. Should its words
# change, such a call is tried again as one of a server that is not there.
_REFUSED_PAUSE_S = 0.1
_CUT_OFF = "Internal error from Core"
"""Of gRPC's asyncio, under INTERNAL: a stream's message could not be sent any more. It has not looked why."""
_CODES = {code.value[0]: code for code in grpc.StatusCode}


def was_cut_off(error: grpc.RpcError) -> bool:
    """Tell whether a stream ended while it sent, so that whatever the server said of it is lost."""
    return _is_cut_off(error.code(), error.details())


@contextmanager
def typed_errors(address: str, timeout_s: float, tls: Tls | None) -> Iterator[None]:
    """Raise lvseg's own error in the place of gRPC's.

    Args:
        address: ``HOST:PORT`` of the server.
        timeout_s: Seconds that the call had.
        tls: What it was encrypted with.

    Raises:
        InputError: If the server refused the input; reason, field and what it expected are the server's.
        SecurityError: If one end did not prove to the other who it is.
        ServerError: If there is no such server, it gave no answer in time, or it failed.
    """
    try:
        yield
    except grpc.RpcError as error:
        # The base class has none of these three methods, but the errors of both of gRPC's APIs do.
        code: grpc.StatusCode = error.code()
        details: str = error.details() or ""
        rich = _rich_status(error.trailing_metadata() or ())
        raise _typed(code, details, rich, address, timeout_s, tls) from error


def from_status(status: status_pb2.Status, address: str, timeout_s: float) -> LvsegError:
    """Return the error that a status within an answer stands for: what :func:`typed_errors` would raise."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    return _typed(code, status.message, status, address, timeout_s, None)


def no_answer(address: str, timeout_s: float) -> ServerError:
    """Return the error of a server that was waited for in vain."""
    return ServerError(
        f"the server at {address} gave no answer within {timeout_s:g} s; allow it more time",
        code=grpc.StatusCode.DEADLINE_EXCEEDED.name,
    )


def _typed(
    code: grpc.StatusCode,
    details: str,
    rich: status_pb2.Status | None,
    address: str,
    timeout_s: float,
    tls: Tls | None,
) -> LvsegError:
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    request = error_details_pb2.BadRequest()
    for detail in rich.details if rich is not None else ():
        detail.Unpack(info)
        detail.Unpack(request)
        detail.Unpack(retry)
    if code is grpc.StatusCode.INVALID_ARGUMENT and info.reason:
        violations = request.field_violations or [error_details_pb2.BadRequest.FieldViolation()]
        return InputError(
            details, reason=info.reason, field=violations[0].field, expected=violations[0].description
        )
    if code is grpc.StatusCode.UNAUTHENTICATED:
        message = (
            f"the server at {address} lets nobody in without a token that it knows (--token-file): {details}"
        )
        return SecurityError(message, code=code.name, reason=info.reason)
    if code is grpc.StatusCode.UNAVAILABLE and _STREAM_REFUSED in details:
        return ServerError(
            f"the server at {address} refused the call before it looked at it; send the slice again",
            code=code.name,
            reason=STREAM_REFUSED,
            retry_after_s=_REFUSED_PAUSE_S,
        )
    if _is_cut_off(code, details) or (code is grpc.StatusCode.UNAVAILABLE and not info.reason):
        if fault := tls_fault(address, details, tls):
            return fault
        return ServerError(
            f"no server at {address} answers; check the address, or start one with lvseg-serve",
            code=grpc.StatusCode.UNAVAILABLE.name,
            reason=NO_SERVER,
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return no_answer(address, timeout_s)
    if info.reason == OVERLOAD:
        message = f"the server at {address} is busy: {details}"
    elif code is grpc.StatusCode.RESOURCE_EXHAUSTED:
        message = f"the server at {address} or this client (--max-message-mib) refused the message: {details}"
    else:
        message = f"the server at {address} answered {code.name}: {details}"
    retry_after_s = retry.retry_delay.ToNanoseconds() / 1e9 or None
    return ServerError(message, code=code.name, reason=info.reason, retry_after_s=retry_after_s)


def _is_cut_off(code: grpc.StatusCode, details: str | None) -> bool:
    return code is grpc.StatusCode.INTERNAL and details == _CUT_OFF


def _rich_status(metadata: Iterable[Any]) -> status_pb2.Status | None:
    for key, value in metadata:
        if key == _DETAILS_KEY:
            try:
                return status_pb2.Status.FromString(value)
            except DecodeError:
                return None  # not a server of ours: the code and its text still tell what happened
    return None
