"""The one place that turns errors into gRPC status codes.

Bad input goes back to the caller in full. Everything else is logged here under a reference, which is all that
the caller is told of it.
"""

import traceback
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from lvseg.errors import (
    BundleError,
    ContourError,
    DatasetError,
    DicomError,
    EngineError,
    EngineLostError,
    EngineReplacedError,
    InputError,
    LabelError,
    LvsegError,
    OperationError,
    OptionError,
    OverloadError,
    RunError,
    SecurityError,
    ServerError,
    StoppingError,
    UnknownModelError,
    WeightsError,
    WorkerError,
    WorkerLostError,
)
from lvseg_serve.events import InternalError
from lvseg_serve.logs import log
from lvseg_serve.observer import ENGINE_LOST, INTERNAL, OVERLOAD, STOPPING, WORKER_LOST
from lvseg_serve.rpc.calls import note_refusal
from lvseg_serve.withheld import describe

DOMAIN = "lvseg"

STATUS: dict[type[LvsegError], grpc.StatusCode] = {
    InputError: grpc.StatusCode.INVALID_ARGUMENT,
    DicomError: grpc.StatusCode.INVALID_ARGUMENT,
    ContourError: grpc.StatusCode.INVALID_ARGUMENT,
    OptionError: grpc.StatusCode.INVALID_ARGUMENT,  # such as a pixel spacing that came with the request
    UnknownModelError: grpc.StatusCode.NOT_FOUND,
    # Files of the server's own: no caller can mend them.
    BundleError: grpc.StatusCode.INTERNAL,
    DatasetError: grpc.StatusCode.INTERNAL,
    LabelError: grpc.StatusCode.INTERNAL,
    RunError: grpc.StatusCode.INTERNAL,
    WeightsError: grpc.StatusCode.INTERNAL,
    OperationError: grpc.StatusCode.INTERNAL,
    OverloadError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    EngineError: grpc.StatusCode.INTERNAL,
    EngineLostError: grpc.StatusCode.UNAVAILABLE,
    EngineReplacedError: grpc.StatusCode.UNAVAILABLE,
    ServerError: grpc.StatusCode.INTERNAL,
    SecurityError: grpc.StatusCode.UNAUTHENTICATED,
    StoppingError: grpc.StatusCode.UNAVAILABLE,
    WorkerError: grpc.StatusCode.INTERNAL,
    WorkerLostError: grpc.StatusCode.UNAVAILABLE,
}

_AT_ONCE_S = 0.1
_CALLERS_FAULT = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}
_NEW_PROCESS_S = 3.0
"""What a start takes, some; both clients go on asking when nobody is there yet."""

_MAX_TEXT = 500  # gRPC refuses a status whose metadata exceed 8 KiB, and with it the reason


@asynccontextmanager
async def errors_as_status(
    context: grpc.aio.ServicerContext[Any, Any], *, operator: bool = False
) -> AsyncIterator[None]:
    """End the RPC with the status of whatever error the block raises; an operator is told more than others."""
    try:
        yield
    except Exception as error:  # noqa: BLE001  nothing else stands between an error and the caller
        status = rpc_status.to_status(to_operator_status(error) if operator else to_status(error))
        # They hold the request, and what an aborted call leaves behind lasts until garbage is next collected.
        traceback.clear_frames(error.__traceback__)
        await context.abort(status.code, status.details, status.trailing_metadata)


def to_operator_status(error: Exception) -> status_pb2.Status:
    """Return the status of an error for whoever runs the server, and so is told what no other caller is."""
    if isinstance(error, BundleError | EngineError):
        reason = error.reason if isinstance(error, BundleError) else "ENGINE"
        info = error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)
        return _status(grpc.StatusCode.FAILED_PRECONDITION, _cut(str(error)), info)
    return to_status(error)


def to_status(error: Exception) -> status_pb2.Status:
    """Return the status of an error; one that the caller cannot mend is logged here, in full."""
    if isinstance(error, InputError) and (code := STATUS.get(type(error))) in _CALLERS_FAULT:
        note_refusal(error.reason)
        return _bad_input(code, error)
    if isinstance(error, OverloadError):
        return _come_again(grpc.StatusCode.RESOURCE_EXHAUSTED, error, OVERLOAD, error.retry_after_s)
    if isinstance(error, WorkerLostError):
        return _come_again(grpc.StatusCode.UNAVAILABLE, error, WORKER_LOST, _AT_ONCE_S)
    if isinstance(error, EngineReplacedError):
        return _come_again(grpc.StatusCode.UNAVAILABLE, error, ENGINE_LOST, _AT_ONCE_S)
    if isinstance(error, StoppingError):
        return _come_again(grpc.StatusCode.UNAVAILABLE, error, STOPPING, _NEW_PROCESS_S)
    if isinstance(error, SecurityError):
        note_refusal(error.reason)
        info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)
        return _status(grpc.StatusCode.UNAUTHENTICATED, str(error), info)
    if isinstance(error, EngineLostError):
        log(InternalError(reference=None, error=describe(error)))
        told = EngineLostError("the engine is lost and the server starts anew; send the slice again")
        return _come_again(grpc.StatusCode.UNAVAILABLE, told, ENGINE_LOST, _NEW_PROCESS_S)
    reference = uuid.uuid4().hex[:12]
    note_refusal(INTERNAL, reference=reference)
    log(InternalError(reference=reference, error=describe(error)))
    return _status(
        grpc.StatusCode.INTERNAL,
        f"the server failed; its log says more under the reference {reference}",
        error_details_pb2.ErrorInfo(reason=INTERNAL, domain=DOMAIN, metadata={"reference": reference}),
    )


def _bad_input(code: grpc.StatusCode, error: InputError) -> status_pb2.Status:
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if error.field or error.expected:
        violation = error_details_pb2.BadRequest.FieldViolation(
            field=_cut(error.field), description=_cut(error.expected)
        )
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    return _status(code, _cut(str(error)), *details)


def _come_again(
    code: grpc.StatusCode, error: LvsegError, reason: str, retry_after_s: float
) -> status_pb2.Status:
    note_refusal(reason)
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(round(retry_after_s * 1e9))
    return _status(code, str(error), error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN), retry)


def _status(code: grpc.StatusCode, message: str, *details: Message) -> status_pb2.Status:
    packed = [any_pb2.Any() for _ in details]
    for holder, detail in zip(packed, details, strict=True):
        holder.Pack(detail)
    return status_pb2.Status(code=code.value[0], message=message, details=packed)


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."
