"""What a server does, as metrics for Prometheus, on an HTTP port of their own.

No label has a value that came with a request: methods and reasons are the server's own words.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lvseg.errors import ServerError
from lvseg_serve.address import parse_address
from lvseg_serve.answers import ServerInfo, StageTimings
from lvseg_serve.observer import ENGINE_LOST, INTERNAL, OVERLOAD, WORKER_LOST, Call, Observer
from lvseg_serve.processes import descendants, resident_bytes

_STAGES = ("decode", "resample", "inference", "postprocess", "compare")
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""From a stage of a small slice to the time-out of the clients."""
_SLICES = (1, 2, 4, 8, 16, 32, 64)


class Metrics(Observer):
    """Counts what it is told, in a registry of its own.

    Args:
        info: What the server says of itself.
    """

    def __init__(self, info: ServerInfo) -> None:
        self.registry = registry = _Registry()
        self._ready = Gauge("lvseg_ready", "1 while the server takes calls.", registry=registry)
        self._model = Info("lvseg_model", "What the server runs.", registry=registry)
        self.runs(info)
        self._began = Counter(
            "lvseg_calls_started_total", "Calls that came in.", ["method"], registry=registry
        )
        self._ended = Counter(
            "lvseg_calls_total",
            "Calls that have ended, by status code.",
            ["method", "code"],
            registry=registry,
        )
        self._call_s = Histogram(
            "lvseg_call_duration_seconds",
            "From a call's start until its last byte was handed over.",
            ["method"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "lvseg_refusals_total",
            "Slices or calls that were refused or failed, by reason.",
            ["reason"],
            registry=registry,
        )
        # What alerts watch is 0 from the start, or the first would not show as a rise.
        for reason in (INTERNAL, OVERLOAD, WORKER_LOST, ENGINE_LOST):
            self._refused.labels(reason)
        self._bytes_in = Counter(
            "lvseg_received_bytes_total", "Messages that came in, in bytes.", registry=registry
        )
        self._bytes_out = Counter(
            "lvseg_sent_bytes_total", "Messages that went out, in bytes.", registry=registry
        )
        self._slice_s = Histogram(
            "lvseg_slice_duration_seconds",
            "From a slice's request to its result, with every wait.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._stage_s = Histogram(
            "lvseg_stage_duration_seconds",
            "Of each stage of a slice; wait is what lies between the stages.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._pending = Gauge(
            "lvseg_pending_slices", "Slices that are taken and not answered yet.", registry=registry
        )
        self._queued = Gauge(
            "lvseg_queued_slices", "Slices of them that wait for the engine.", registry=registry
        )
        self._pending_bytes = Gauge(
            "lvseg_pending_bytes",
            "Size of the files of pending slices, and of those that wait in streams for their places.",
            registry=registry,
        )
        self._missing_workers = Gauge(
            "lvseg_missing_workers", "Worker processes that died and are not replaced yet.", registry=registry
        )
        Gauge("lvseg_pending_slices_limit", "Most that are taken.", registry=registry).set(
            info.limits.max_pending
        )
        self._batch_slices = Histogram(
            "lvseg_batch_slices", "Slices in one run of the engine.", buckets=_SLICES, registry=registry
        )
        self._batch_s = Histogram(
            "lvseg_batch_duration_seconds", "Of one run of the engine.", buckets=_SECONDS, registry=registry
        )
        ProcessCollector(registry=registry)
        registry.register(_Memory())

    def runs(self, info: ServerInfo) -> None:
        """Say what the server runs from now on."""
        self._model.info(
            {**asdict(info.model), "architecture": info.architecture, "lvseg": info.versions.get("lvseg", "")}
        )

    def ready(self, ready: bool) -> None:
        """Set whether the server takes calls."""
        self._ready.set(ready)

    def call_began(self, method: str) -> None:
        """Count the call."""
        self._began.labels(method).inc()

    def refused(self, reason: str) -> None:
        """Count the refusal."""
        self._refused.labels(reason).inc()

    def segmented(self, timings: StageTimings) -> None:
        """Take the times of a slice; comparing took none where no contour came."""
        seconds = {stage: getattr(timings, f"{stage}_ms") / 1e3 for stage in _STAGES}
        total_s = timings.total_ms / 1e3
        seconds["wait"] = max(0.0, total_s - sum(seconds.values()))
        if not seconds["compare"]:
            del seconds["compare"]
        for stage, stage_s in seconds.items():
            self._stage_s.labels(stage).observe(stage_s)
        self._slice_s.observe(total_s)

    def call_ended(self, call: Call) -> None:
        """Count the call by its code, with its time and bytes."""
        self._ended.labels(call.method, call.code).inc()
        self._call_s.labels(call.method).observe(call.seconds)
        self._bytes_in.inc(call.bytes_in)
        self._bytes_out.inc(call.bytes_out)

    def watch(
        self,
        *,
        pending: Callable[[], int],
        queued: Callable[[], int],
        pending_bytes: Callable[[], int],
        missing_workers: Callable[[], int],
    ) -> None:
        """Ask these for what is so at the moment, whenever somebody reads the metrics, from a thread of its own."""
        self._pending.set_function(pending)
        self._queued.set_function(queued)
        self._pending_bytes.set_function(pending_bytes)
        self._missing_workers.set_function(missing_workers)

    def batch(self, slices: int, seconds: float) -> None:
        """Take the size and time of a run of the engine."""
        self._batch_slices.observe(slices)
        self._batch_s.observe(seconds)


@contextmanager
def serving_metrics(metrics: Metrics, listen: str | None) -> Iterator[str | None]:
    """Serve metrics over HTTP while the block runs; yields ``HOST:PORT`` with the port that was bound.

    Args:
        metrics: What to serve, under every path.
        listen: ``HOST:PORT``; port 0 takes a free one; ``None``: nowhere.

    Raises:
        OptionError: If ``listen`` is not of that form.
        ServerError: If the address cannot be bound, such as a port in use.
    """
    if listen is None:
        yield None
        return
    host, port = parse_address(listen, option="--metrics")
    try:
        server, thread = start_http_server(port, host, metrics.registry)
    except OSError as error:
        raise ServerError(
            f"cannot listen on {listen} ({error.strerror}); stop what uses it or choose another --metrics"
        ) from error
    try:
        yield f"{listen.rpartition(':')[0]}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Registry(CollectorRegistry):
    def collect(self) -> Iterator[Metric]:
        """Leave out the series of when each series began: as many again, which nobody reads."""
        for family in super().collect():
            family.samples = [sample for sample in family.samples if not sample.name.endswith("_created")]
            yield family


class _Memory(Collector):
    """Memory of the server and of the processes that work for it, as /proc tells it now."""

    def collect(self) -> Iterable[Metric]:
        own = os.getpid()
        memory = GaugeMetricFamily(
            "lvseg_memory_resident_bytes",
            "Resident memory; pages that processes share count in each.",
            labels=["processes"],
        )
        memory.add_metric(["server"], resident_bytes(own))
        memory.add_metric(["workers"], sum(map(resident_bytes, descendants(own))))
        return (memory,)
