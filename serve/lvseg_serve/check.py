"""``lvseg-serve --check``: whether a server would start, part by part, without starting it."""

from collections.abc import Callable

import click

from lvseg.errors import LvsegError
from lvseg_serve.assembly import Assembly
from lvseg_serve.ending import Exit
from lvseg_serve.ports import check_free


def check(assembly: Assembly) -> Exit:
    """Print a line for each part of a server: what it is, or why it cannot be made."""
    listen, admin = assembly.listen, assembly.admin.admin
    steps: list[tuple[str, Callable[[], str]]] = [
        ("security", lambda: _security(assembly)),
        ("capacity", lambda: _capacity(assembly)),
        ("protocols", lambda: "lvseg, KServe" if assembly.faces else "lvseg"),
        ("log and metrics", lambda: _observation(assembly)),
        ("model", lambda: _model(assembly)),
        ("--listen", lambda: _free(listen, "--listen")),
    ]
    if admin is not None:
        steps.append(("--admin", lambda: _free(admin, "--admin")))
    failed = False
    for part, step in steps:
        try:
            click.echo(f"ok      {part}: {step()}")
        except (LvsegError, OSError) as error:
            failed = True
            click.echo(f"failed  {part}: {' '.join(str(error).split())}")
    return Exit.UNUSABLE if failed else Exit.STOPPED


def _security(assembly: Assembly) -> str:
    guard, security = assembly.guard, assembly.security
    parts = ["no TLS" if guard.credentials is None else "TLS"]
    if security.tls_client_ca is not None:
        parts.append("clients need certificates")
    if security.token_file is not None:
        parts.append("clients need tokens")
    warning = security.warning(assembly.listen)
    return ", ".join(parts) + (f"; {warning}" if warning else "")


def _capacity(assembly: Assembly) -> str:
    capacity = assembly.capacity
    return f"{capacity.workers} workers, {capacity.room.slices} slices pending"


def _observation(assembly: Assembly) -> str:
    observation = assembly.observation
    if observation.metrics is None:
        return f"{observation.log_format} log, no metrics"
    return f"{observation.log_format} log, metrics on {_free(observation.metrics, '--metrics')}"


def _model(assembly: Assembly) -> str:
    model = assembly.model()
    identity = model.info.model
    return (
        f"{identity.name} {identity.version} ({identity.precision}, {identity.engine}) from {model.folder} says what "
        "it said at export"
    )


def _free(address: str, option: str) -> str:
    check_free(address, option=option)
    return f"{address}, which is free"
