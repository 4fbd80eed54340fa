"""Each call seen from outside: how long it took, how it ended and how many bytes it moved, told to an observer."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import aclosing, contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import Any

import grpc
from google.protobuf import descriptor_pool

from lvseg_serve.answers import StageTimings
from lvseg_serve.observer import Call, Observer, Peer, add_timings

OTHER_METHOD = "other"
"""Stands for every method that the server does not have: its name is whatever the caller made up."""
NOT_RECEIVED = "NOT_RECEIVED"
"""Reason of a call whose request never became a message: larger than is accepted, malformed, or broken off."""

_DEADLINE_SLACK_S = 0.1  # a caller's deadline is up before the server's copy of it, by the way between them
_CODES = {code.value[0]: code.name for code in grpc.StatusCode}

_Context = grpc.aio.ServicerContext[Any, Any]


def note_slice(timings: StageTimings) -> None:
    """Tell the call under way that a slice of it was segmented."""
    call = _under_way.get()
    if call is not None:
        call.note_slice(timings)


def note_refusal(reason: str, *, reference: str | None = None) -> None:
    """Tell the call under way that it, or a slice of it, was refused or failed.

    Args:
        reason: Stable word for why.
        reference: Under which the log tells of an error of the server's own.
    """
    call = _under_way.get()
    if call is not None:
        call.note_refusal(reason, reference)


class CallObservation(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs alone
    """Tells an observer of every call; methods that hold to ``note_slice`` and ``note_refusal``, of their slices too.

    Methods of services that it was not told of are all called by one name, since a caller may make up any.
    """

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._methods: set[str] = set()

    def name_methods_of(self, services: Iterable[str]) -> None:
        """Call the methods of these services, given by their full names, by name from now on."""
        find = descriptor_pool.Default().FindServiceByName
        self._methods |= {
            f"{service}/{method.name}" for service in services for method in find(service).methods
        }

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Observe the call that begins here and ends with the task that gRPC gave it."""
        method = handler_call_details.method.removeprefix("/")
        call = _CallUnderWay(self._observer, method if method in self._methods else OTHER_METHOD)
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("gRPC runs an interceptor outside a task: this version is not supported")
        task.add_done_callback(lambda _: call.end())
        handler = await continuation(handler_call_details)
        if handler is None:
            call.code = grpc.StatusCode.UNIMPLEMENTED.name
            return None
        return call.observed(handler)


class _CallUnderWay:
    """What is known of a call so far."""

    def __init__(self, observer: Observer, method: str) -> None:
        self.code = ""
        """Name of the status code, once it is known."""
        self._observer = observer
        self._method = method
        self._started = perf_counter()
        self._peer = Peer.OTHER
        self._reason: str | None = None
        self._reference: str | None = None
        self._bytes_in = self._bytes_out = self._slices = 0
        self._timings: StageTimings | None = None
        observer.call_began(method)

    def note_slice(self, timings: StageTimings) -> None:
        self._slices += 1
        self._timings = add_timings(self._timings, timings)
        self._observer.segmented(timings)

    def note_refusal(self, reason: str, reference: str | None) -> None:
        self._reason, self._reference = reason, reference or self._reference
        self._observer.refused(reason)

    def end(self) -> None:
        if not self.code:
            self.code = grpc.StatusCode.UNKNOWN.name
            self.note_refusal(NOT_RECEIVED, None)
        call = Call(
            method=self._method,
            code=self.code,
            reason=self._reason,
            reference=self._reference,
            peer=self._peer,
            seconds=perf_counter() - self._started,
            bytes_in=self._bytes_in,
            bytes_out=self._bytes_out,
            slices=self._slices,
            timings=self._timings,
        )
        self._observer.call_ended(call)

    def observed(self, handler: Any) -> Any:
        """Return a handler that does what ``handler`` does, and tells this call of it."""
        kind = f"{_word(handler.request_streaming)}_{_word(handler.response_streaming)}"
        behaviour = getattr(handler, kind)
        wrapped = self._streaming(behaviour) if handler.response_streaming else self._unary(behaviour)
        make = getattr(grpc, f"{kind}_rpc_method_handler")
        return make(
            wrapped,
            request_deserializer=self._counting_in(handler.request_deserializer),
            response_serializer=self._counting_out(handler.response_serializer),
        )

    def _unary(self, behaviour: Callable[[Any, _Context], Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def observed(request: Any, context: _Context) -> Any:
            with self._inside(context):
                return await behaviour(request, context)

        return observed

    def _streaming(self, behaviour: Callable[[Any, _Context], Any]) -> Callable[..., Any]:
        async def observed_generator(request: Any, context: _Context) -> AsyncIterator[Any]:
            with self._inside(context):
                async with aclosing(behaviour(request, context)) as responses:
                    async for response in responses:
                        yield response

        async def observed_writer(request: Any, context: _Context) -> None:
            with self._inside(context):
                await behaviour(request, context)

        return observed_generator if inspect.isasyncgenfunction(behaviour) else observed_writer

    def _counting_in(self, deserialize: Callable[[bytes], Any] | None) -> Callable[[bytes], Any]:
        def counting(message: bytes) -> Any:
            self._bytes_in += len(message)
            return message if deserialize is None else deserialize(message)

        return counting

    def _counting_out(self, serialize: Callable[[Any], bytes] | None) -> Callable[[Any], bytes]:
        def counting(response: Any) -> bytes:
            message: bytes = response if serialize is None else serialize(response)
            self._bytes_out += len(message)
            return message

        return counting

    @contextmanager
    def _inside(self, context: _Context) -> Iterator[None]:
        """Be the call under way, and learn how it ends."""
        self._peer = _peer(context.peer())
        _under_way.set(self)  # in the context of the call's own task, which ends with it
        try:
            yield
        except (asyncio.CancelledError, GeneratorExit):
            left_s = context.time_remaining()
            late = left_s is not None and left_s < _DEADLINE_SLACK_S
            self.code = (grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED).name
            raise
        except BaseException:
            # Of an error that is no status gRPC makes UNKNOWN.
            self.code = _code_name(context.code()) or grpc.StatusCode.UNKNOWN.name
            raise
        else:
            self.code = _code_name(context.code()) or grpc.StatusCode.OK.name


_under_way: ContextVar[_CallUnderWay | None] = ContextVar("call under way", default=None)


def _word(streaming: bool) -> str:
    return "stream" if streaming else "unary"


def _code_name(code: grpc.StatusCode | int | None) -> str:
    if code is None:
        return ""
    return code.name if isinstance(code, grpc.StatusCode) else _CODES[code]


def _peer(address: str) -> Peer:
    kind = address.partition(":")[0]
    return Peer(kind) if kind in set(Peer) else Peer.OTHER
