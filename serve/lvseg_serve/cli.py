"""The command lvseg-serve."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import click

from lvseg.cli import Command, notice
from lvseg_export.engine_options import engine_options, plan_options
from lvseg_serve import defaults
from lvseg_serve.admin_options import admin_options
from lvseg_serve.assembly import Assembly
from lvseg_serve.capacity_options import capacity_options
from lvseg_serve.check import check as check_parts
from lvseg_serve.config import config_option
from lvseg_serve.ending import end_now
from lvseg_serve.lifecycle_options import lifecycle_options
from lvseg_serve.logs import start_logging
from lvseg_serve.observation_options import observation_options
from lvseg_serve.running import serve_until_told
from lvseg_serve.security_options import security_options
from lvseg_serve.workers.limits import leave_no_core


@click.command(cls=Command, context_settings={"auto_envvar_prefix": "LVSEG_SERVE"})
@click.argument("bundle", required=False, envvar="LVSEG_SERVE_BUNDLE", type=click.Path(path_type=Path))
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
@config_option()
@click.option(
    "--check",
    is_flag=True,
    help="Do not serve: tell part by part whether a server with these options would start. Exit code 0 or 2.",
)
def main(check: bool, **options: Any) -> None:
    """Serve the model of BUNDLE, a folder that lvseg-export wrote, over gRPC; by default the one that comes with lvseg.

    Prints one line when it is ready. SIGTERM or Ctrl-C stop it once the requests under way are answered, a second one
    at once. SIGHUP loads the bundle again. Exit codes: 0 stopped, 1 failed, 2 options or files that have to be changed,
    3 the engine is lost and a new process may do better, 4 it did not stop in time.

    Each option may also come from the environment, as LVSEG_SERVE_MAX_PENDING for --max-pending, or from --config FILE.

    \b
    Examples:
      lvseg-serve bundles/a --listen 127.0.0.1:50051
      lvseg-serve --listen 0.0.0.0:50051 --tls-certificate server.pem --tls-key server.key --token-file tokens
      lvseg-serve --config lvseg-serve.toml --check
    """  # noqa: D301 - click's own mark for text that it shall not fold
    assembly = Assembly(**options)
    if check:
        click.get_current_context().exit(check_parts(assembly))
    leave_no_core()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until there is something to reload
    start_logging(assembly.observation.log_format, assembly.observation.log_level)
    plan = assembly.plan
    if warning := assembly.security.warning(assembly.listen):
        notice(warning)
    # A model that is just being loaded, and an engine that hangs, are not waited for.
    end_now(asyncio.run(serve_until_told(assembly.model(), assembly.loader, plan)))
