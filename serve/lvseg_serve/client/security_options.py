"""The options of every command that calls a server, about how it gets in."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from lvseg.cli import option_group
from lvseg.errors import OptionError
from lvseg_serve.client.security import Access, Tls
from lvseg_serve.tokens import read_token

_FILE = click.Path(dir_okay=False, path_type=Path)
_Command = TypeVar("_Command", bound=Callable[..., Any])


def client_security_options() -> Callable[[_Command], _Command]:
    """Give a command the options of which :func:`to_access` makes one value."""
    return option_group(
        click.option(
            "--tls-ca",
            type=_FILE,
            help="Encrypt by TLS; the authorities, in PEM, one of which has to have issued the server's certificate.",
        ),
        click.option(
            "--tls-certificate", type=_FILE, help="With --tls-ca: the client's own certificate, in PEM."
        ),
        click.option("--tls-key", type=_FILE, help="Its private key in PEM, for its owner's eyes alone."),
        click.option(
            "--token-file",
            type=_FILE,
            help="File with the bearer token that the server lets this client in by.",
        ),
    )


def to_access(
    *, tls_ca: Path | None, tls_certificate: Path | None, tls_key: Path | None, token_file: Path | None
) -> Access:
    """Return what a command's options let it in with.

    Raises:
        OptionError: If they contradict each other, or the token file cannot be used.
    """
    if tls_ca is None and (tls_certificate or tls_key):
        raise OptionError(
            "--tls-certificate and --tls-key go with --tls-ca, which says whom they are shown to",
            reason="CONTRADICTION",
            field="--tls-ca",
        )
    tls = None if tls_ca is None else Tls(ca=tls_ca, certificate=tls_certificate, key=tls_key)
    return Access(tls, None if token_file is None else read_token(token_file))


CLIENT_SECURITY = tuple(inspect.signature(to_access).parameters)
"""Names of the parameters that :func:`client_security_options` gives a command."""
