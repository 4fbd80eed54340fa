"""A gRPC server around a segmenter: bound, started, and stopped from the outside in."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from lvseg_api.v1 import segmentation_pb2
from lvseg_serve import defaults
from lvseg_serve.answers import ServerInfo
from lvseg_serve.observer import SILENT, Observer
from lvseg_serve.ports import check_free
from lvseg_serve.rpc.calls import CallObservation
from lvseg_serve.rpc.connections import ConnectionLimits
from lvseg_serve.rpc.listening import ALONE, listen_on
from lvseg_serve.rpc.servicer import SegmentationServicer, add_to_server
from lvseg_serve.rpc.standard import Health, Reflection
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.state import ServerState

SERVICE = segmentation_pb2.DESCRIPTOR.services_by_name["SegmentationService"].full_name
_SERVICES = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
_CONNECTIONS = ConnectionLimits()

Face = Callable[[grpc.aio.Server, Segmenter, ServerState, health_pb2_grpc.HealthServicer], str]
"""Adds a further service to a server before it starts, and returns the service's full name."""

_STATUS = {
    True: health_pb2.HealthCheckResponse.SERVING,
    False: health_pb2.HealthCheckResponse.NOT_SERVING,
}


@asynccontextmanager
async def running_server(
    segmenter: Segmenter,
    info: ServerInfo | ServerState,
    *,
    listen: str,
    credentials: grpc.ServerCredentials | None = None,
    interceptors: "Sequence[grpc.aio.ServerInterceptor[Any, Any]]" = (),
    connections: ConnectionLimits = _CONNECTIONS,
    grace_s: float = defaults.GRACE_S,
    faces: Sequence[Face] = (),
    observer: Observer = SILENT,
) -> AsyncIterator[str]:
    """Serve while the block runs; yields ``HOST:PORT`` with the port that was bound.

    At the end health turns NOT_SERVING, no new request is taken, those under way are finished or, after
    ``grace_s``, cancelled; of a stream what was taken is answered. Only then is the segmenter closed.

    Args:
        segmenter: Does the work; it belongs to the server from here on.
        info: What the server says of itself, for good or as its state has it at each moment; the limits that it
            begins with are enforced.
        listen: ``HOST:PORT``; port 0 takes a free one.
        credentials: The server's end of TLS; ``None``: plain text.
        interceptors: See each call before the service does, the first of them first.
        connections: What one connection may ask.
        grace_s: Seconds for requests under way at the end.
        faces: Further services on the same port.
        observer: Is told of every call, of every slice, and when the server is ready.

    Raises:
        OptionError: If ``listen`` is not of that form.
        ServerError: If the address cannot be bound, such as a port in use.
    """
    try:
        state = ServerState(info) if isinstance(info, ServerInfo) else info
        limits = state.info.limits
        check_free(listen, option="--listen")
        observation = CallObservation(observer)
        server = grpc.aio.server(
            interceptors=[observation, *interceptors],  # it is first, so as to see what the others refuse
            options=[
                ALONE,
                ("grpc.max_receive_message_length", limits.max_message_bytes),
                ("grpc.max_send_message_length", limits.max_message_bytes),
                *connections.options(),
            ],
        )
        checks = Health(state.draining)
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        add_to_server(SegmentationServicer(segmenter, state), server)
        services = (*_SERVICES, *(face(server, segmenter, state, checks) for face in faces))
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(
            Reflection(services, state.draining), server
        )
        observation.name_methods_of(services)
        address = listen_on(server, listen, credentials, option="--listen")

        async def tell(serving: bool) -> None:
            for name in (health.OVERALL_HEALTH, SERVICE):
                await checks.set(name, _STATUS[serving])

        await state.follow(tell)
        await server.start()

        async def observe(serving: bool) -> None:
            observer.ready(serving)

        await state.follow(observe)
        try:
            yield address
        finally:
            observer.ready(False)
            await checks.enter_graceful_shutdown()
            state.draining.begin()
            await server.stop(grace_s)
    finally:
        await segmenter.close()
