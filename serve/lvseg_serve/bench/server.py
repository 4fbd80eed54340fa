"""A server as a subject of the benchmark: DICOM in, mask, contour and area out."""

import asyncio
import dataclasses
import time

from lvseg.errors import OptionError
from lvseg_export.bundle import ModelInfo
from lvseg_serve.answers import StageTimings
from lvseg_serve.bench.loops import closed_loop, open_loop, poisson_times_s
from lvseg_serve.bench.rounds import Callee
from lvseg_serve.bench.rows import THROUGH_GRPC, Result, Subject
from lvseg_serve.client import AsyncClient, Client
from lvseg_serve.client.security import Access


def server_subject(client: Client, model: ModelInfo, dicom: bytes) -> Subject:
    """Return a server's subject, once it has answered a first time.

    Raises:
        InputError: If it refuses the slice.
        OptionError: If it serves another model than the bundle's.
        ServerError: If it cannot be reached, or fails.
    """
    info = client.server_info()
    served = info.model
    if served.version != model.version:
        raise OptionError(
            f"the server runs {served.name} {served.version} and the bundle holds {model.name} {model.version}: "
            "start lvseg-serve with this bundle",
            reason="OTHER_MODEL",
            field="--server",
        )
    started = time.perf_counter()
    client.segment(dicom)
    return Subject(
        engine=f"{served.engine}{THROUGH_GRPC}",
        precision=served.precision,
        batch=1,
        threads=info.threads,
        first_ms=(time.perf_counter() - started) * 1e3,
    )


def server_callee(client: Client, subject: Subject, dicom: bytes) -> Callee:
    """Return a server to be called in turn with engines, by one caller."""

    def call() -> StageTimings:
        return client.segment(dicom).timings

    return Callee(subject, call)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pressure:
    """How a server is loaded, other than by one caller in turn with engines."""

    rate: float | None
    """Slices a second that are sent whatever becomes of them; ``None``: callers wait for their answers."""
    callers: int
    """How many, where they wait."""
    seconds: float

    @property
    def loop(self) -> str:
        """Its name in the table."""
        return f"closed {self.callers}" if self.rate is None else f"open {self.rate:g}/s"


def measure_under(pressure: Pressure, address: str, access: Access, subject: Subject, dicom: bytes) -> Result:
    """Load a server, which must be warm, and return what became of the slices."""

    async def run() -> Result:
        # A refusal is to be counted, not to be waited for.
        async with AsyncClient(address, retry=False, tls=access.tls, token=access.token) as client:
            if pressure.rate is None:
                load = await closed_loop(client, dicom, callers=pressure.callers, seconds=pressure.seconds)
            else:
                times_s = poisson_times_s(pressure.rate, pressure.seconds)
                load = await open_loop(client, dicom, at_s=times_s)
        return load.result(dataclasses.replace(subject, loop=pressure.loop))

    return asyncio.run(run())
