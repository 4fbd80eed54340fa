"""The options of lvseg-serve about who gets in, and what of it goes together."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from lvseg.cli import option_group
from lvseg.errors import OptionError
from lvseg_serve.address import is_loopback, parse_address

_FILE = click.Path(dir_okay=False, path_type=Path)
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Security:
    """How a server is secured, by the names that click gives the options."""

    tls_certificate: Path | None
    tls_key: Path | None
    tls_client_ca: Path | None
    token_file: Path | None
    insecure: bool

    def check(self, listen: str) -> None:
        """Refuse what contradicts itself, and what would leave patients' data open on a network.

        Args:
            listen: ``HOST:PORT`` of the server.

        Raises:
            OptionError: The message names the options that mend it.
        """
        host, _ = parse_address(listen, option="--listen")
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise _conflict("--tls-certificate", "--tls-certificate and --tls-key go together")
        if self.tls_certificate is None:
            if self.tls_client_ca is not None:
                raise _conflict(
                    "--tls-client-ca", "--tls-client-ca goes with --tls-certificate and --tls-key"
                )
            if not is_loopback(host):
                self._check_open(listen)
        elif self.insecure:
            raise _conflict(
                "--insecure", "--insecure and --tls-certificate exclude each other: give one of them"
            )

    def warning(self, listen: str) -> str:
        """Return what whoever starts the server should know of ``listen``; empty for nothing."""
        host, _ = parse_address(listen, option="--listen")
        if is_loopback(host):
            return ""
        if self.tls_certificate is None:
            return f"whoever is on the network of {listen} can read the slices and send others; --insecure allows it"
        if self.tls_client_ca is None and self.token_file is None:
            return f"whoever reaches {listen} is served; --token-file or --tls-client-ca say who may be"
        return ""

    def _check_open(self, listen: str) -> None:
        """Check what listens beyond loopback without TLS."""
        if self.token_file is not None:
            raise OptionError(
                f"--listen {listen} reaches beyond this machine, and without TLS whoever is on the network could read "
                "the tokens of --token-file: add --tls-certificate and --tls-key, or leave the tokens out",
                reason="TOKEN_IN_PLAIN_TEXT",
                field="--token-file",
            )
        if not self.insecure:
            raise OptionError(
                f"--listen {listen} reaches beyond this machine, and without TLS whoever is on the network could read "
                "the slices: add --tls-certificate and --tls-key, or --insecure where that is meant",
                reason="PLAIN_TEXT",
                field="--listen",
            )


def security_options() -> Callable[[_Command], _Command]:
    """Give a command the options of :class:`Security`."""
    return option_group(
        click.option(
            "--tls-certificate",
            type=_FILE,
            help="Encrypt by TLS; the server's certificate in PEM, with those that lead to its authority. Read again "
            "when it changes, as all these files are.",
        ),
        click.option("--tls-key", type=_FILE, help="Its private key in PEM, for its owner's eyes alone."),
        click.option(
            "--tls-client-ca",
            type=_FILE,
            help="Let only those in who have a certificate of one of these authorities, in PEM (mutual TLS).",
        ),
        click.option(
            "--token-file",
            type=_FILE,
            help="Let only those in who send one of these bearer tokens, one a line, such as 'openssl rand -hex 32' "
            "makes.",
        ),
        click.option(
            "--insecure",
            is_flag=True,
            help="Listen beyond this machine without TLS: whoever is on the network can read the slices.",
        ),
    )


def _conflict(option: str, message: str) -> OptionError:
    return OptionError(message, reason="CONTRADICTION", field=option)


SECURITY = tuple(field.name for field in fields(Security))
"""Names of the parameters that :func:`security_options` gives a command."""
