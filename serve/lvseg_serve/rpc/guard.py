"""What stands between a network and the service, made from a server's options."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import grpc

from lvseg_serve.admin_options import NO_ADMIN, Admin
from lvseg_serve.rpc.authentication import TokenInterceptor
from lvseg_serve.rpc.credentials import ServerTls, server_credentials
from lvseg_serve.security_options import Security


@dataclass(frozen=True, kw_only=True)
class Guard:
    """TLS and tokens, as :func:`~lvseg_serve.rpc.server.running_server` takes them."""

    admin_credentials: grpc.ServerCredentials | None = None
    """For :func:`~lvseg_serve.rpc.admin.running_admin`."""

    credentials: grpc.ServerCredentials | None = None
    interceptors: "Sequence[grpc.aio.ServerInterceptor[Any, Any]]" = ()


def to_guard(security: Security, admin: Admin = NO_ADMIN) -> Guard:
    """Read the files that secure a server.

    Raises:
        OptionError: If one of them cannot be used.
    """
    tls = None
    if security.tls_certificate is not None and security.tls_key is not None:
        tls = ServerTls(
            certificate=security.tls_certificate, key=security.tls_key, client_ca=security.tls_client_ca
        )
    admin_credentials = None
    if admin.admin_client_ca is not None and tls is not None:
        admin_credentials = server_credentials(
            replace(tls, client_ca=admin.admin_client_ca, client_ca_option="--admin-client-ca")
        )
    return Guard(
        admin_credentials=admin_credentials,
        credentials=None if tls is None else server_credentials(tls),
        interceptors=[] if security.token_file is None else [TokenInterceptor(security.token_file)],
    )
