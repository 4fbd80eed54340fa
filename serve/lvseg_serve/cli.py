"""The command lvseg-serve."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import click

from lvseg.cli import Command, notice
from lvseg.errors import missing_extra
from lvseg_export.engine_options import engine_options, plan_options, to_plans
from lvseg_export.shipped import named_bundle
from lvseg_serve import defaults
from lvseg_serve.admin_options import ADMIN, Admin, admin_options
from lvseg_serve.capacity_options import CAPACITY, capacity_options, to_capacity
from lvseg_serve.ending import end_now
from lvseg_serve.lifecycle_options import CANARIES, lifecycle_options, to_canaries
from lvseg_serve.logs import start_logging
from lvseg_serve.models import LoadedModel, ModelLoader
from lvseg_serve.observation_options import OBSERVATION, observation_options, to_observation
from lvseg_serve.rpc.guard import to_guard
from lvseg_serve.rpc.server import Face
from lvseg_serve.running import Plan, serve_until_told
from lvseg_serve.security_options import SECURITY, Security, security_options
from lvseg_serve.workers.limits import leave_no_core


@click.command(cls=Command)
@click.argument("bundle", required=False, type=click.Path(path_type=Path))
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default=defaults.ADDRESS,
    show_default=True,
    help="Where to listen; port 0 takes a free one.",
)
@security_options()
@engine_options()
@plan_options()
@capacity_options()
@click.option(
    "--kserve",
    is_flag=True,
    help="Offer the Open Inference Protocol (KServe v2) too, for Triton's clients; wants lvseg[kserve].",
)
@observation_options()
@lifecycle_options()
@admin_options()
def main(
    bundle: Path | None,
    listen: str,
    runtime: str,
    precision: str,
    threads: int | None,
    kserve: bool,
    **others: Any,
) -> None:
    """Serve the model of BUNDLE, a folder that lvseg-export wrote, over gRPC; by default the one that comes with lvseg.

    Prints one line when it is ready. SIGTERM or Ctrl-C stop it once the requests under way are answered, a second one
    at once. SIGHUP loads the bundle again. Exit codes: 0 stopped, 1 failed, 2 options or files that have to be changed,
    3 the engine is lost and a new process may do better, 4 it did not stop in time.

    \b
    Examples:
      lvseg-serve bundles/a --listen 127.0.0.1:50051
      lvseg-serve --listen 0.0.0.0:50051 --tls-certificate server.pem --tls-key server.key --token-file tokens
    """  # noqa: D301 - click's own mark for text that it shall not fold
    leave_no_core()
    observation = to_observation(**{name: others.pop(name) for name in OBSERVATION})
    start_logging(observation.log_format, observation.log_level)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    security = Security(**{name: others.pop(name) for name in SECURITY})
    security.check(listen)
    admin = Admin(**{name: others.pop(name) for name in ADMIN})
    admin.check(security)
    guard = to_guard(security, admin)
    if warning := security.warning(listen):
        notice(warning)
    plan = Plan(
        listen=listen,
        guard=guard,
        faces=[_kserve()] if kserve else [],
        capacity=to_capacity(**{name: others.pop(name) for name in CAPACITY}),
        canaries=to_canaries(**{name: others.pop(name) for name in CANARIES}),
        grace_s=others.pop("grace_s"),
        admin=admin,
        observation=observation,
    )
    loader = ModelLoader(
        runtime=runtime,
        precision=precision,
        threads=threads,
        plans=to_plans(**others),
        max_message_bytes=plan.capacity.max_message_bytes,
        max_pending=plan.capacity.room.slices,
    )
    # A model that is just being loaded, and an engine that hangs, are not waited for.
    end_now(asyncio.run(serve_until_told(_load(loader, bundle), loader, plan)))


def _load(loader: ModelLoader, bundle: Path | None) -> LoadedModel:
    model = loader.load(named_bundle(bundle))
    if model.why:
        notice(f"fastest here is {model.why}")
    return model


def _kserve() -> Face:
    try:
        import packaging  # noqa: F401  tritonclient.grpc would tell a RuntimeError of it

        from lvseg_serve.rpc.kserve.face import add_kserve
    except ModuleNotFoundError as error:
        raise missing_extra(error.name, "kserve", field="--kserve") from error
    return add_kserve
