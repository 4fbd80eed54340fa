"""What gRPC's text says of a connection that TLS did not let come about.

gRPC has one status for it, UNAVAILABLE, as for a server that is not there; the tests hold what its words are.
"""

from lvseg.errors import SecurityError
from lvseg_serve.client.security import Tls

_CONNECTING = "failed to connect to all addresses"
_VERIFYING = (
    (
        "certificate has expired",
        "SERVER_CERTIFICATE_EXPIRED",
        "its certificate, or its authority's, has expired; have it renewed",
    ),
    (
        "certificate is not yet valid",
        "SERVER_CERTIFICATE_NOT_YET_VALID",
        "its certificate is not valid yet; check this machine's clock",
    ),
    (
        "Hostname Verification Check failed",
        "SERVER_NAME_MISMATCH",
        "its certificate is for another name; call it by the name that the certificate has",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "UNKNOWN_AUTHORITY",
        "its certificate is of none of the authorities in --tls-ca; it may be another server than you mean",
    ),
    (
        "WRONG_VERSION_NUMBER",
        "SERVER_WITHOUT_TLS",
        "it does not encrypt; start it with --tls-certificate, or call it without --tls-ca",
    ),
)
GUESSED = {"SERVER_WANTS_TLS", "CLIENT_CERTIFICATE_MISSING", "CLIENT_CERTIFICATE_REFUSED"}
"""Reasons of a connection that was closed before the call. A server that is killed just then closes it in this way."""
_ENDED = ("Socket closed", "Connection reset", "Broken pipe")


def tls_fault(address: str, details: str, tls: Tls | None) -> SecurityError | None:
    """Return the error of a call that is UNAVAILABLE by a fault of TLS, or ``None`` where there was none.

    A server that refuses a client's certificate, or plain text, only closes the connection: then the error says
    what is likely.

    Args:
        address: ``HOST:PORT`` of the server.
        details: The text of gRPC's status.
        tls: What the client encrypts with.
    """
    for words, reason, meaning in _VERIFYING:
        if words in details:
            return _error(f"the server at {address} is not trusted: {meaning}", reason)
    if "_ALERT_" in details or (details.startswith(_CONNECTING) and any(word in details for word in _ENDED)):
        return _turned_away(address, tls)
    if "handshake failed" in details:
        return _error(f"TLS with the server at {address} failed: {details}", "TLS_FAILED")
    return None


def _turned_away(address: str, tls: Tls | None) -> SecurityError:
    closed = f"the server at {address} closed the connection before the call"
    if tls is None:
        return _error(f"{closed}: it probably wants TLS; add --tls-ca", "SERVER_WANTS_TLS")
    if tls.certificate is None:
        return _error(
            f"{closed}: it probably wants a certificate of the client; add --tls-certificate and --tls-key",
            "CLIENT_CERTIFICATE_MISSING",
        )
    return _error(
        f"{closed}: it probably refuses the certificate {tls.certificate}; have one issued by an authority of its "
        "--tls-client-ca",
        "CLIENT_CERTIFICATE_REFUSED",
    )


def _error(message: str, reason: str) -> SecurityError:
    return SecurityError(message, code="UNAVAILABLE", reason=reason)
