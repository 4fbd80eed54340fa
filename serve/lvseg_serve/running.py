"""A server's life: it starts, is watched, loads other models, is told to stop."""

import asyncio
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

import click

from lvseg.errors import EngineLostError
from lvseg_serve.admin_options import Admin
from lvseg_serve.answers import ServerInfo
from lvseg_serve.canary import CanarySettings, CanaryWatch
from lvseg_serve.capacity_options import Capacity
from lvseg_serve.ending import Exit, end_now
from lvseg_serve.events import EngineLost, Ready, Stopped, Stopping
from lvseg_serve.logs import AccessLog, log
from lvseg_serve.metrics import Metrics, serving_metrics
from lvseg_serve.models import LoadedModel, ModelLoader, Models
from lvseg_serve.observation_options import Observation
from lvseg_serve.observer import Observer, Observers
from lvseg_serve.operations import Operations
from lvseg_serve.rpc.admin import running_admin
from lvseg_serve.rpc.guard import Guard
from lvseg_serve.rpc.server import Face, running_server
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.state import ServerState
from lvseg_serve.supervisor import Notice, notify
from lvseg_serve.waiting import first_of
from lvseg_serve.workers.pool import WorkerProcesses

BEYOND_GRACE_S = 5.0
"""For all that ends after the last request: threads and worker processes."""
_LAST_WORDS_S = 2.0
"""For telling callers that the engine is lost."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a server is run."""

    listen: str
    """``HOST:PORT``."""
    guard: Guard
    faces: Sequence[Face]
    capacity: Capacity
    canaries: CanarySettings
    grace_s: float
    """For requests under way when it is told to stop."""
    admin: Admin
    observation: Observation


async def serve_until_told(first: LoadedModel, loader: ModelLoader, plan: Plan) -> Exit:
    """Serve a model until a signal stops it or the engine is lost.

    SIGINT or SIGTERM let what is under way be finished; a second one ends the process at once. SIGHUP loads the
    model's bundle again.

    Raises:
        OptionError: If an address is malformed.
        ServerError: If an address cannot be listened on.
    """
    stop = _stop_signal()
    state = ServerState(first.info, serving=False)
    metrics = Metrics(first.info)
    observer = _observer(metrics, plan.observation)
    async with WorkerProcesses(plan.capacity.workers, plan.capacity.worker_limits) as workers:
        segmenter = Segmenter(
            first.engine,
            model=first.info.model,
            working_spacing_mm=first.info.working_spacing_mm,
            runner=workers,
            room=plan.capacity.room,
            batches=plan.capacity.batches,
            observe=observer.batch,
        )
        metrics.watch(
            pending=lambda: segmenter.pending,
            queued=lambda: segmenter.queued,
            pending_bytes=lambda: segmenter.pending_bytes,
            missing_workers=lambda: workers.missing,
        )
        models = Models(
            segmenter, state, loader, first, bundles=plan.admin.bundles, same_grid=bool(plan.faces)
        )
        del first  # or it would stay in memory after two swaps
        watch = CanaryWatch(segmenter, lambda: models.current.canary, state, plan.canaries)

        def swapped(info: ServerInfo) -> None:
            metrics.runs(info)
            watch.ask_now()

        models.on_swap(swapped)
        async with (
            _metrics(metrics, plan.observation) as metrics_address,
            running_server(
                segmenter,
                state,
                listen=plan.listen,
                credentials=plan.guard.credentials,
                interceptors=plan.guard.interceptors,
                faces=plan.faces,
                observer=observer,
                grace_s=plan.grace_s,
            ) as address,
            _admin(Operations(models, segmenter, state, watch), plan) as admin_address,
        ):
            announcement = _Announcement(state, address, metrics_address, admin_address)
            await state.follow(announcement.tell)
            try:
                await first_of(asyncio.wait([stop]), watch.run(), _reload_when_told(models))
            except EngineLostError as error:
                log(EngineLost(error=str(error)))
                asyncio.get_running_loop().call_later(_LAST_WORDS_S, end_now, Exit.ENGINE_LOST)
                return Exit.ENGINE_LOST
            notify(Notice.STOPPING)
            log(Stopping(signal=stop.result().name))
            began = perf_counter()
            asyncio.get_running_loop().call_later(plan.grace_s + BEYOND_GRACE_S, end_now, Exit.CUT_SHORT)
    log(Stopped(drain_s=round(perf_counter() - began, 3)))
    return Exit.STOPPED


def _observer(metrics: Metrics, observation: Observation) -> Observer:
    """Return who is told of what happens; metrics that nobody may read are not kept."""
    # Metrics first: what the log tells of is counted by then.
    return AccessLog() if observation.metrics is None else Observers(metrics, AccessLog())


@asynccontextmanager
async def _metrics(metrics: Metrics, observation: Observation) -> AsyncIterator[str | None]:
    with serving_metrics(metrics, observation.metrics) as address:
        yield address


@asynccontextmanager
async def _admin(operations: Operations, plan: Plan) -> AsyncIterator[str | None]:
    """Run the admin service, if it is wanted; yields its address."""
    if plan.admin.admin is None:
        yield None
        return
    credentials = plan.guard.admin_credentials
    async with running_admin(operations, listen=plan.admin.admin, credentials=credentials) as address:
        yield address


class _Announcement:
    """Says once, on standard output, in the log and to a service manager, that the server is ready."""

    def __init__(self, state: ServerState, address: str, metrics: str | None, admin: str | None) -> None:
        self._state = state
        self._address = address
        self._metrics = metrics
        self._admin = admin
        self._said = False

    async def tell(self, serving: bool) -> None:
        if not serving or self._said:
            return
        self._said = True
        notify(Notice.READY)
        log(Ready.of(self._state.info, self._address, self._metrics, self._admin))
        model = self._state.info.model
        where = self._address if self._admin is None else f"{self._address}, admin on {self._admin}"
        click.echo(
            f"ready: {model.name} {model.version} ({model.precision}, {model.engine}) on {where}; "
            "stop with Ctrl-C"
        )


def _stop_signal() -> "asyncio.Future[signal.Signals]":
    """Return what the first signal to stop will be; a second one ends the process."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[signal.Signals] = loop.create_future()

    def take(number: signal.Signals) -> None:
        if stop.done():
            end_now(Exit.STOPPED)
        stop.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, take, number)
    return stop


async def _reload_when_told(models: Models) -> None:
    told = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, told.set)
    while True:
        await told.wait()
        told.clear()
        try:
            await models.reload()
        except EngineLostError:
            raise
        except Exception:  # noqa: BLE001, S112  logged, whatever it is, and the model is what it was
            continue
