"""The options of lvseg-serve about its admin service, and what of them goes together."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import click

from lvseg.cli import option_group
from lvseg.errors import OptionError
from lvseg_serve.address import is_loopback, parse_address
from lvseg_serve.security_options import Security

_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class Admin:
    """Who may administer a server from where, by the names that click gives the options."""

    admin: str | None = None
    """``HOST:PORT``; ``None``: nobody may."""
    admin_client_ca: Path | None = None
    bundles: Path | None = None

    def check(self, security: Security) -> None:
        """Refuse what contradicts itself, and what would let a network swap the model.

        Raises:
            OptionError: The message names the options that mend it.
        """
        if self.admin is None:
            for option, value in (("--admin-client-ca", self.admin_client_ca), ("--bundles", self.bundles)):
                if value is not None:
                    raise _conflict(option, f"{option} goes with --admin")
            return
        host, _ = parse_address(self.admin, option="--admin")
        if self.admin_client_ca is not None:
            if security.tls_certificate is None:
                raise _conflict(
                    "--admin-client-ca", "--admin-client-ca goes with --tls-certificate and --tls-key"
                )
        elif not is_loopback(host):
            raise OptionError(
                f"--admin {self.admin} reaches beyond this machine, and whoever reaches it may swap the model: "
                "add --admin-client-ca, --tls-certificate and --tls-key, or listen on 127.0.0.1",
                reason="ADMIN_OPEN",
                field="--admin",
            )
        if self.bundles is not None and not self.bundles.is_dir():
            raise OptionError(
                f"--bundles {self.bundles} is no folder",
                reason="NO_FOLDER",
                field="--bundles",
                expected="a folder",
            )


NO_ADMIN = Admin()


def admin_options() -> Callable[[_Command], _Command]:
    """Give a command the options of :class:`Admin`."""
    return option_group(
        click.option(
            "--admin",
            metavar="HOST:PORT",
            help="Where to listen for lvseg-admin, another port; on this machine alone but for --admin-client-ca.",
        ),
        click.option(
            "--admin-client-ca",
            type=click.Path(dir_okay=False, path_type=Path),
            help="Let those administer who have a certificate of one of these authorities, in PEM.",
        ),
        click.option(
            "--bundles",
            type=click.Path(path_type=Path),
            help="Folder of the bundles that lvseg-admin may swap to.  [default: none]",
        ),
    )


def _conflict(option: str, message: str) -> OptionError:
    return OptionError(message, reason="CONTRADICTION", field=option)


ADMIN = tuple(field.name for field in fields(Admin))
"""Names of the parameters that :func:`admin_options` gives a command."""
