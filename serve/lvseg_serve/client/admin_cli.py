"""The command lvseg-admin."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import click

from lvseg.cli import Command
from lvseg_serve import defaults
from lvseg_serve.address import parse_address
from lvseg_serve.answers import ModelIdentity, Status
from lvseg_serve.client.admin import AdminClient
from lvseg_serve.client.security import Tls

_FILE = click.Path(dir_okay=False, path_type=Path)


class Action(StrEnum):
    """What the command does."""

    STATUS = "status"
    SWAP = "swap"
    ROLLBACK = "rollback"


@click.command(cls=Command)
@click.argument("action", type=click.Choice([action.value for action in Action]))
@click.argument("bundle", required=False)
@click.option(
    "--server",
    metavar="HOST:PORT",
    required=True,
    help="The admin service, as lvseg-serve --admin says; not where it serves slices.",
)
@click.option("--tls-ca", type=_FILE, help="Encrypt by TLS; authorities of the server's certificate, in PEM.")
@click.option("--tls-certificate", type=_FILE, help="The operator's own certificate, in PEM.")
@click.option("--tls-key", type=_FILE, help="Its private key in PEM, for its owner's eyes alone.")
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=defaults.SWAP_S,
    show_default=True,
    help="Seconds to wait: a model is loaded, and held to its bundle's reference, before it answers.",
)
def main(
    action: str,
    bundle: str | None,
    server: str,
    tls_ca: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    timeout_s: float,
) -> None:
    """Administer a running lvseg-serve: tell its status, swap its BUNDLE, or roll back to the former one.

    A swap fails no request. A bundle that does not load, or does not say what it said at export, leaves the server as
    it was. BUNDLE is a folder on the server's machine, inside of its --bundles; a relative path counts from there.
    The exit code of status is 1 when the server's health is NOT_SERVING.

    \b
    Examples:
      lvseg-admin status --server 127.0.0.1:50052
      lvseg-admin swap fcn8s-2 --server 127.0.0.1:50052
      lvseg-admin rollback --server 127.0.0.1:50052
    """  # noqa: D301 - click's own mark for text that it shall not fold
    if (bundle is None) == (action == Action.SWAP):
        raise click.UsageError(f"{action} takes {'a BUNDLE' if bundle is None else 'no BUNDLE'}")
    if tls_ca is None and (tls_certificate or tls_key):
        raise click.UsageError("--tls-certificate and --tls-key go with --tls-ca")
    parse_address(server, option="--server")
    tls = None if tls_ca is None else Tls(ca=tls_ca, certificate=tls_certificate, key=tls_key)
    with AdminClient(server, timeout_s=timeout_s, tls=tls) as client:
        if action == Action.STATUS:
            status = client.status()
            for line in _lines(status):
                click.echo(line)
            click.get_current_context().exit(0 if status.serving else 1)
        model, former = client.swap(bundle) if bundle is not None else client.roll_back()
    click.echo(f"{_named(model)} answers now; {_named(former)} can be rolled back to")


def _lines(status: Status) -> Iterator[str]:
    yield f"model: {_named(status.model)}, from {status.bundle}"
    yield f"former model: {_named(status.former_model) if status.former_model else 'none'}"
    yield f"health: {'SERVING' if status.serving else f'NOT_SERVING: {status.why_not_serving}'}"
    yield f"canaries: {status.canaries_passed} passed, {status.canaries_failed_in_a_row} failed since the last of them"
    yield f"pending: {status.pending} slices, {status.queued} of them wait for the engine"
    yield f"workers: {status.workers}"
    yield f"uptime: {status.uptime_s:.0f} s"


def _named(model: ModelIdentity) -> str:
    return f"{model.name} {model.version} ({model.precision}, {model.engine})"
