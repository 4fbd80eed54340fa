"""The command lvseg-serve."""

import asyncio
import signal
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import click

from lvseg.cli import Command, notice
from lvseg.errors import missing_extra
from lvseg_export.choice import choose_engine
from lvseg_export.engine_options import engine_options, plan_options, to_plans
from lvseg_export.engines.base import Engine
from lvseg_export.shipped import named_bundle
from lvseg_serve import defaults
from lvseg_serve.answers import ServerInfo
from lvseg_serve.capacity_options import CAPACITY, Capacity, capacity_options, to_capacity
from lvseg_serve.events import Ready, Stopped, Stopping
from lvseg_serve.info import server_info
from lvseg_serve.logs import AccessLog, log, start_logging
from lvseg_serve.metrics import Metrics, serving_metrics
from lvseg_serve.observation_options import OBSERVATION, Observation, observation_options, to_observation
from lvseg_serve.observer import Observers
from lvseg_serve.rpc.guard import Guard, to_guard
from lvseg_serve.rpc.server import Face, running_server
from lvseg_serve.security_options import SECURITY, Security, security_options
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.workers.limits import leave_no_core
from lvseg_serve.workers.pool import WorkerProcesses


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

    Prints one line when it is ready. SIGTERM or Ctrl-C stop it once the requests under way are answered.

    \b
    Examples:
      lvseg-serve bundles/a --listen 127.0.0.1:50051
      lvseg-serve --listen 0.0.0.0:50051 --tls-certificate server.pem --tls-key server.key --token-file tokens
    """  # noqa: D301 - click's own mark for text that it shall not fold
    leave_no_core()
    observation = to_observation(**{name: others.pop(name) for name in OBSERVATION})
    start_logging(observation.log_format, observation.log_level)
    security = Security(**{name: others.pop(name) for name in SECURITY})
    security.check(listen)
    guard = to_guard(security)
    if warning := security.warning(listen):
        notice(warning)
    faces = [_kserve()] if kserve else []
    capacity = to_capacity(**{name: others.pop(name) for name in CAPACITY})
    plans = to_plans(**others)
    checked = named_bundle(bundle)
    choice = choose_engine(checked, runtime, precision, threads=threads, plans=plans)
    if choice.why:
        notice(f"fastest here is {choice.why}")
    info = server_info(
        checked,
        choice.engine,
        max_message_bytes=capacity.max_message_bytes,
        max_pending=capacity.room.slices,
    )
    asyncio.run(_serve_until_signalled(choice.engine, info, capacity, observation, guard, listen, faces))


def _kserve() -> Face:
    try:
        import packaging  # noqa: F401  tritonclient.grpc would tell a RuntimeError of it

        from lvseg_serve.rpc.kserve.face import add_kserve
    except ModuleNotFoundError as error:
        raise missing_extra(error.name, "kserve", field="--kserve") from error
    return add_kserve


async def _serve_until_signalled(
    engine: Engine,
    info: ServerInfo,
    capacity: Capacity,
    observation: Observation,
    guard: Guard,
    listen: str,
    faces: Sequence[Face],
) -> None:
    stop = _stop_signal()
    model = info.model
    metrics = Metrics(info)
    async with WorkerProcesses(capacity.workers, capacity.worker_limits) as workers:
        segmenter = Segmenter(
            engine,
            model=model,
            working_spacing_mm=info.working_spacing_mm,
            runner=workers,
            room=capacity.room,
            batches=capacity.batches,
            observe=metrics.batch,
        )
        metrics.watch(
            pending=lambda: segmenter.pending,
            queued=lambda: segmenter.queued,
            pending_bytes=lambda: segmenter.pending_bytes,
            missing_workers=lambda: workers.missing,
        )
        with serving_metrics(metrics, observation.metrics) as metrics_address:
            async with running_server(
                segmenter,
                info,
                listen=listen,
                credentials=guard.credentials,
                interceptors=guard.interceptors,
                faces=faces,
                observer=Observers(AccessLog(), metrics),
            ) as address:
                log(Ready.of(info, address, metrics_address))
                click.echo(
                    f"ready: {model.name} {model.version} ({model.precision}, {model.engine}) on {address}; "
                    "stop with Ctrl-C"
                )
                log(Stopping(signal=(await stop).name))
                began = perf_counter()
    log(Stopped(drain_s=round(perf_counter() - began, 3)))


def _stop_signal() -> "asyncio.Future[signal.Signals]":
    """Return what the first signal to stop will be."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[signal.Signals] = loop.create_future()

    def take(number: signal.Signals) -> None:
        if not stop.done():
            stop.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, take, number)
    return stop
