"""The server's end of TLS: what it proves itself with, and whom it asks to do so, renewed under way."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc

from lvseg_serve.certificates import Identity, read_authorities, read_identity
from lvseg_serve.watched import Watched

CLIENT_CA = "--tls-client-ca"


@dataclass(frozen=True, kw_only=True)
class ServerTls:
    """The files of a server with TLS."""

    certificate: Path
    """PEM: the server's own certificate, then those that lead to the authority."""
    key: Path
    """PEM, not encrypted, for its owner or group alone."""
    client_ca: Path | None = None
    """PEM: authorities one of which has to have issued a client's certificate; ``None``: clients need none."""
    client_ca_option: str = CLIENT_CA
    """The option that it was given by, for messages."""


class _Files(NamedTuple):
    identity: Identity
    client_authorities: bytes | None


def server_credentials(tls: ServerTls) -> grpc.ServerCredentials:
    """Return credentials that read their files again when these change, at the next connection.

    Connections that stand are left alone: they end at the age that
    :class:`~lvseg_serve.rpc.connections.ConnectionLimits` states.

    Raises:
        OptionError: If the files cannot be used to begin with; later on that is logged.
    """
    paths = [tls.certificate, tls.key, *([tls.client_ca] if tls.client_ca else [])]
    files = Watched(paths, lambda: _read(tls))
    given = files.current()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        """Return what the next connection shall use, or ``None`` for what the last did; gRPC's threads ask."""
        nonlocal given
        newest = files.current()
        if newest is given:
            return None
        given = newest
        return _configuration(newest)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(given),
        renewed,  # type: ignore[arg-type]  # the stubs know no None, which gRPC takes for no change
        require_client_authentication=tls.client_ca is not None,
    )


def _read(tls: ServerTls) -> _Files:
    return _Files(
        read_identity(tls.certificate, tls.key),
        read_authorities(tls.client_ca, option=tls.client_ca_option) if tls.client_ca else None,
    )


def _configuration(files: _Files) -> grpc.ServerCertificateConfiguration:
    certificate, key = files.identity
    return grpc.ssl_server_certificate_configuration(
        [(key, certificate)], root_certificates=files.client_authorities
    )
