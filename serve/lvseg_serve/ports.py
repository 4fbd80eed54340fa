"""Whether an address can be listened on: gRPC says neither why it cannot bind, nor that it bound but half of it."""

import errno
import socket
from typing import Any

from lvseg.errors import ServerError
from lvseg_serve.address import parse_address

_AddressInfo = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


def check_free(address: str, *, option: str) -> None:
    """Check that an address can be listened on.

    Args:
        address: ``HOST:PORT``.
        option: The option that it was given by, such as ``"--listen"``.

    Raises:
        OptionError: If it is not of that form.
        ServerError: If it is in use, or none of this machine's.
    """
    host, port = parse_address(address, option=option)
    try:
        addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _cannot_listen(address, option, error) from error
    faults = [fault for fault in map(_bind_fault, addresses) if fault is not None]
    taken = [fault for fault in faults if fault.errno == errno.EADDRINUSE]
    # localhost may stand for an IPv6 address on a machine without IPv6: one that can be bound is enough.
    if taken or len(faults) == len(addresses):
        fault = (taken or faults)[0]
        raise _cannot_listen(address, option, fault) from fault


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


def _cannot_listen(address: str, option: str, error: OSError) -> ServerError:
    return ServerError(
        f"cannot listen on {address} ({error.strerror}); stop what uses it or choose another {option}"
    )
