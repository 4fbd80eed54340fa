"""Certificates and keys in PEM: read and checked before gRPC sees them, which names no fault of theirs."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from lvseg.errors import OptionError
from lvseg_serve.private_files import read_file, read_secret

CERTIFICATE = "--tls-certificate"
KEY = "--tls-key"


class Identity(NamedTuple):
    """What one end of a connection proves itself with, in PEM."""

    certificate: bytes
    """The end's own certificate first, then those that lead to the authority."""
    key: bytes


def read_identity(certificate: Path, key: Path) -> Identity:
    """Return a certificate and its private key.

    Raises:
        OptionError: If a file cannot be read or is not PEM, the key is encrypted, is for everybody's eyes or
            belongs to another certificate, or a certificate is not valid now.
    """
    pem = read_file(certificate, option=CERTIFICATE)
    chain = _certificates(pem, certificate, CERTIFICATE)
    for member in chain:
        _require_valid_now(member, certificate)
    secret = read_secret(key, option=KEY)
    if _public_key(secret, key) != chain[0].public_key():
        raise _fault(
            f"{key} is not the key of {certificate}, whose first certificate has to be the end's own",
            "KEY_MISMATCH",
            KEY,
        )
    return Identity(pem, secret)


def read_authorities(path: Path, *, option: str) -> bytes:
    """Return the certificates of the authorities that are trusted, in PEM.

    Raises:
        OptionError: If the file cannot be read, is not PEM, or holds none that is valid now.
    """
    pem = read_file(path, option=option)
    now = datetime.now(UTC)
    authorities = _certificates(pem, path, option)
    if all(authority.not_valid_after_utc < now for authority in authorities):
        last = max(authority.not_valid_after_utc for authority in authorities)
        raise _fault(
            f"{path} holds no authority that is still valid: the last expired on {last:%Y-%m-%d}",
            "CERTIFICATE_EXPIRED",
            option,
        )
    return pem


def _certificates(pem: bytes, path: Path, option: str) -> Sequence[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise _fault(
            f"{path} holds no certificate in PEM; expected '-----BEGIN CERTIFICATE-----'", "NOT_PEM", option
        ) from error


def _require_valid_now(certificate: x509.Certificate, path: Path) -> None:
    now = datetime.now(UTC)
    if certificate.not_valid_after_utc < now:
        raise _fault(
            f"{path} expired on {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; have a new certificate issued",
            "CERTIFICATE_EXPIRED",
            CERTIFICATE,
        )
    if certificate.not_valid_before_utc > now:
        raise _fault(
            f"{path} is valid from {certificate.not_valid_before_utc:%Y-%m-%d %H:%M} UTC on; "
            "check this machine's clock, or wait",
            "CERTIFICATE_NOT_YET_VALID",
            CERTIFICATE,
        )


def _public_key(pem: bytes, path: Path) -> object:
    try:
        return load_pem_private_key(pem, password=None).public_key()
    except TypeError as error:  # this is how cryptography says that it wants a password
        raise _fault(
            f"{path} is encrypted; expected a key without a passphrase, in a file for its owner alone",
            "ENCRYPTED_KEY",
            KEY,
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _fault(
            f"{path} holds no private key in PEM; expected '-----BEGIN PRIVATE KEY-----'", "NOT_PEM", KEY
        ) from error


def _fault(message: str, reason: str, option: str) -> OptionError:
    return OptionError(message, reason=reason, field=option)
