"""How a gRPC server gets its port."""

import grpc

from lvseg.errors import ServerError

ALONE = ("grpc.so_reuseport", 0)
"""Linux would let a second server share the port and take half of the calls."""


def listen_on(
    server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None, *, option: str
) -> str:
    """Bind a server that has not started; return ``HOST:PORT`` with the port that was bound.

    Args:
        server: Made with :data:`ALONE`.
        address: ``HOST:PORT``, for which :func:`~lvseg_serve.ports.check_free` found nothing wrong; port 0 takes a free
            one.
        credentials: The server's end of TLS; ``None``: plain text.
        option: The option that the address was given by, such as ``"--listen"``.

    Raises:
        ServerError: If the address cannot be bound.
    """
    try:
        bound = (
            server.add_insecure_port(address)
            if credentials is None
            else server.add_secure_port(address, credentials)
        )
    except RuntimeError as error:
        raise ServerError(f"cannot listen on {address}; choose another {option}") from error
    return f"{address.rpartition(':')[0]}:{bound}"
