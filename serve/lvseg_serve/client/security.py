"""How a client proves its server, and itself to the server."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import grpc

from lvseg.errors import OptionError
from lvseg_serve.address import is_loopback, parse_address
from lvseg_serve.certificates import read_authorities, read_identity
from lvseg_serve.tokens import check_token

CA = "--tls-ca"


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The files of a client that encrypts by TLS; they are read when the client is made.

    Raises:
        OptionError: If of certificate and key one is missing.
    """

    ca: Path
    """PEM: the authorities one of which has to have issued the server's certificate. Those that the system trusts are
    a file too, such as ``/etc/ssl/certs/ca-certificates.crt``."""
    certificate: Path | None = None
    """PEM: the client's own, for a server that wants one."""
    key: Path | None = None
    """PEM: of the certificate; not encrypted, for its owner or group alone."""
    server_name: str | None = None
    """The name that the server's certificate has to be for, where it is not the host of the address: behind a
    proxy, or in a test."""

    def __post_init__(self) -> None:
        if (self.certificate is None) != (self.key is None):
            raise OptionError(
                "--tls-certificate and --tls-key go together",
                reason="CONTRADICTION",
                field="--tls-certificate",
            )


class Access(NamedTuple):
    """What a client is let in with."""

    tls: Tls | None = None
    """``None``: plain text."""
    token: str | None = None


def channel_credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Return the client's end of TLS.

    Raises:
        OptionError: If a file cannot be read, is not PEM, has expired, or the key is another certificate's.
    """
    authorities = read_authorities(tls.ca, option=CA)
    if tls.certificate is None or tls.key is None:
        return grpc.ssl_channel_credentials(authorities)
    certificate, key = read_identity(tls.certificate, tls.key)
    return grpc.ssl_channel_credentials(authorities, private_key=key, certificate_chain=certificate)


def call_metadata(address: str, access: Access) -> tuple[tuple[str, str], ...]:
    """Return the headers of each call to a server.

    Raises:
        OptionError: If the token is none, or would go over a network in plain text.
    """
    if access.token is None:
        return ()
    check_token(access.token, where="the token")
    host, _ = parse_address(address, option="--server")
    if access.tls is None and not is_loopback(host):
        raise OptionError(
            f"a token would go to {address} in plain text, for whoever is on the network to read; add --tls-ca",
            reason="TOKEN_IN_PLAIN_TEXT",
            field="--token-file",
        )
    return (("authorization", f"Bearer {access.token}"),)
