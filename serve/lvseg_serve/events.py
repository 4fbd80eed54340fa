"""The events that a server logs: each a class, whose fields are all that may be said of it.

A field is a number, a word of our own (a status code, a reason, a model's name) or a reference. Nothing that
came with a request has a field here, so nothing of it can be logged.
"""

import logging
from dataclasses import dataclass
from typing import ClassVar

from lvseg_serve.answers import ModelIdentity, ServerInfo
from lvseg_serve.observer import Call, Peer

_PROBES = ("ServerLive", "ServerReady", "ModelReady")
_QUIET = ("grpc.", *(f"inference.GRPCInferenceService/{probe}" for probe in _PROBES))
"""How the methods begin that orchestrators call every few seconds."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened; a field that is ``None`` is not said."""

    name: ClassVar[str]

    @property
    def level(self) -> int:
        """One of the levels of :mod:`logging`."""
        return logging.INFO

    def fields(self) -> dict[str, str | int | float]:
        """Return what is said of it, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def __str__(self) -> str:
        return " ".join([self.name, *(f"{name}={value}" for name, value in self.fields().items())])


@dataclass(frozen=True, kw_only=True)
class Ready(Event):
    """The server takes calls."""

    name = "ready"
    address: str
    """Where it listens."""
    metrics: str | None
    """Where its metrics are; ``None``: nowhere."""
    admin: str | None
    """Where its admin service is; ``None``: nowhere."""
    model: str
    version: str
    engine: str
    engine_version: str
    precision: str
    threads: int

    @classmethod
    def of(cls, info: ServerInfo, address: str, metrics: str | None, admin: str | None = None) -> "Ready":
        """Return the event of a server."""
        model = info.model
        return cls(
            address=address,
            metrics=metrics,
            admin=admin,
            model=model.name,
            version=model.version,
            engine=model.engine,
            engine_version=model.engine_version,
            precision=model.precision,
            threads=info.threads,
        )


@dataclass(frozen=True, kw_only=True)
class Stopping(Event):
    """The server was told to stop and takes no new calls."""

    name = "stopping"
    signal: str
    """Name of the signal, such as ``"SIGTERM"``."""


@dataclass(frozen=True, kw_only=True)
class Stopped(Event):
    """All calls have ended and the engine is closed."""

    name = "stopped"
    drain_s: float
    """What it took."""


@dataclass(frozen=True, kw_only=True)
class Health(Event):
    """Whether the server can answer has changed; that it can for the first time is :class:`Ready`."""

    name = "health"
    status: str
    """``"SERVING"`` or ``"NOT_SERVING"``, as the health service says."""
    why: str | None
    """Of NOT_SERVING, in one line."""

    @property
    def level(self) -> int:
        """Somebody has to look, unless it is well again."""
        return logging.INFO if self.why is None else logging.ERROR


@dataclass(frozen=True, kw_only=True)
class Swapped(Event):
    """Another model answers, and each slice that comes in from now on."""

    name = "swapped"
    model: str
    version: str
    sha256: str
    engine: str
    precision: str
    former_model: str
    former_version: str

    @classmethod
    def of(cls, model: ModelIdentity, former: ModelIdentity) -> "Swapped":
        """Return the event of a model that answers after another."""
        return cls(
            model=model.name,
            version=model.version,
            sha256=model.sha256,
            engine=model.engine,
            precision=model.precision,
            former_model=former.name,
            former_version=former.version,
        )


@dataclass(frozen=True, kw_only=True)
class SwapFailed(Event):
    """Another model was to answer, and did not load or did not pass: the one that answered does so still."""

    name = "swap_failed"
    error: str

    @property
    def level(self) -> int:
        """Somebody wanted it."""
        return logging.ERROR


@dataclass(frozen=True, kw_only=True)
class FormerHangs(Event):
    """The engine of a model that was swapped does not return from a call of before: its memory and a thread stay."""

    name = "former_hangs"
    model: str
    version: str
    seconds: float
    """Since the swap."""

    @property
    def level(self) -> int:
        """Memory may stay short until the process is started anew."""
        return logging.WARNING


@dataclass(frozen=True, kw_only=True)
class FormerLetGo(Event):
    """An engine of which :class:`FormerHangs` was said has returned from its last call."""

    name = "former_let_go"
    model: str
    version: str
    seconds: float
    """Since the swap."""


@dataclass(frozen=True, kw_only=True)
class EngineLost(Event):
    """The engine will not answer again: the process ends, for a new one to take its place."""

    name = "engine_lost"
    error: str

    @property
    def level(self) -> int:
        """It is the end."""
        return logging.CRITICAL


@dataclass(frozen=True, kw_only=True)
class CallEnded(Event):
    """One call, once it has ended; see :class:`lvseg_serve.observer.Call`."""

    name = "call"
    method: str
    code: str
    reason: str | None
    reference: str | None
    peer: Peer
    duration_ms: float
    bytes_in: int
    bytes_out: int
    slices: int
    decode_ms: float | None
    resample_ms: float | None
    inference_ms: float | None
    postprocess_ms: float | None
    compare_ms: float | None
    total_ms: float | None

    @property
    def level(self) -> int:
        """Health checks and reflection are of no interest unless somebody looks for them."""
        return logging.DEBUG if self.method.startswith(_QUIET) else logging.INFO

    @classmethod
    def of(cls, call: Call) -> "CallEnded":
        """Return the event of a call."""
        stages = ("decode_ms", "resample_ms", "inference_ms", "postprocess_ms", "compare_ms", "total_ms")
        return cls(
            method=call.method,
            code=call.code,
            reason=call.reason,
            reference=call.reference,
            peer=call.peer,
            duration_ms=round(call.seconds * 1e3, 3),
            bytes_in=call.bytes_in,
            bytes_out=call.bytes_out,
            slices=call.slices,
            **{stage: round(getattr(call.timings, stage), 3) if call.timings else None for stage in stages},
        )


@dataclass(frozen=True, kw_only=True)
class InternalError(Event):
    """Something failed that no caller can mend."""

    name = "internal_error"
    reference: str | None
    """What the caller was told in its place; ``None``: there was no caller."""
    error: str
    """As :func:`lvseg_serve.withheld.describe` tells it."""

    @property
    def level(self) -> int:
        """An operator has to look."""
        return logging.ERROR


@dataclass(frozen=True, kw_only=True)
class ReloadFailed(Event):
    """A certificate, key or token file has changed and cannot be used: what was read before stays in force."""

    name = "reload_failed"
    error: str
    """What is wrong with it, by name; nothing of what is in it."""

    @property
    def level(self) -> int:
        """Somebody has to look, before the former one expires."""
        return logging.WARNING


@dataclass(frozen=True, kw_only=True)
class Foreign(Event):
    """A library logged or warned of something; where, and nothing of its text."""

    name = "library"
    library: str
    """Name of its logger, or the class of its warning."""
    place: str
    """File and line."""
    error: str | None
    """As :func:`lvseg_serve.withheld.describe` tells it."""

    @property
    def level(self) -> int:
        """Of those that are not logged at a level of their own."""
        return logging.WARNING
