"""A gRPC server around a segmenter: bound, started, and stopped from the outside in."""

import errno
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from lvseg.errors import ServerError
from lvseg_api.v1 import segmentation_pb2
from lvseg_serve.address import parse_address
from lvseg_serve.answers import ServerInfo
from lvseg_serve.observer import SILENT, Observer
from lvseg_serve.rpc.calls import CallObservation
from lvseg_serve.rpc.connections import ConnectionLimits
from lvseg_serve.rpc.servicer import SegmentationServicer, add_to_server
from lvseg_serve.segmenter import Segmenter

SERVICE = segmentation_pb2.DESCRIPTOR.services_by_name["SegmentationService"].full_name
GRACE_S = 10.0
"""How long requests that were accepted may still take when the server is told to stop."""
_SERVICES = (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
_CONNECTIONS = ConnectionLimits()

Face = Callable[[grpc.aio.Server, Segmenter, ServerInfo, health_pb2_grpc.HealthServicer], str]
"""Adds a further service to a server before it starts, and returns the service's full name."""

_AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


@asynccontextmanager
async def running_server(
    segmenter: Segmenter,
    info: ServerInfo,
    *,
    listen: str,
    credentials: grpc.ServerCredentials | None = None,
    interceptors: "Sequence[grpc.aio.ServerInterceptor[Any, Any]]" = (),
    connections: ConnectionLimits = _CONNECTIONS,
    grace_s: float = GRACE_S,
    faces: Sequence[Face] = (),
    observer: Observer = SILENT,
) -> AsyncIterator[str]:
    """Serve while the block runs; yields ``HOST:PORT`` with the port that was bound.

    At the end health turns NOT_SERVING, no new request is taken, those under way are finished or, after
    ``grace_s``, cancelled. Only then is the segmenter closed.

    Args:
        segmenter: Does the work; it belongs to the server from here on.
        info: What the server says of itself; its limits are enforced.
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
        host, port = parse_address(listen, option="--listen")
        _check_free(host, port)
        observation = CallObservation(observer)
        server = grpc.aio.server(
            interceptors=[observation, *interceptors],  # it is first, so as to see what the others refuse
            options=[
                # Linux would let a second server share the port and take half of the requests.
                ("grpc.so_reuseport", 0),
                ("grpc.max_receive_message_length", info.limits.max_message_bytes),
                ("grpc.max_send_message_length", info.limits.max_message_bytes),
                *connections.options(),
            ],
        )
        checks = health.aio.HealthServicer()  # type: ignore[attr-defined]
        health_pb2_grpc.add_HealthServicer_to_server(checks, server)
        add_to_server(SegmentationServicer(segmenter, info), server)
        services = (*_SERVICES, *(face(server, segmenter, info, checks) for face in faces))
        reflection.enable_server_reflection(services, server)
        observation.name_methods_of(services)
        try:
            bound = (
                server.add_insecure_port(listen)
                if credentials is None
                else server.add_secure_port(listen, credentials)
            )
        except RuntimeError as error:
            raise ServerError(f"cannot listen on {listen}; choose another --listen") from error
        await checks.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        await server.start()
        observer.ready(True)
        try:
            yield f"{listen.rpartition(':')[0]}:{bound}"
        finally:
            observer.ready(False)
            await checks.enter_graceful_shutdown()
            await server.stop(grace_s)
    finally:
        await segmenter.close()


def _check_free(host: str, port: int) -> None:
    """Check that the addresses of a host can be bound.

    gRPC says neither why it cannot bind, nor that it bound only one of the addresses of ``localhost``.
    """
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    faults = [fault for fault in map(_bind_fault, addresses) if fault is not None]
    taken = [fault for fault in faults if fault.errno == errno.EADDRINUSE]
    # localhost may stand for an IPv6 address on a machine without IPv6: one that can be bound is enough.
    if taken or len(faults) == len(addresses):
        fault = (taken or faults)[0]
        raise _cannot_listen(host, port, fault) from fault


def _bind_fault(address: _AddressInfo) -> OSError | None:
    family, kind, protocol, _, where = address
    try:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(where)
    except OSError as error:
        return error
    return None


def _cannot_listen(host: str, port: int, error: OSError) -> ServerError:
    return ServerError(
        f"cannot listen on {host}:{port} ({error.strerror}); stop what uses it or choose another --listen"
    )
