"""Whether the server can answer, found out by asking it: a phantom through the engine, again and again."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from lvseg.errors import EngineError, EngineLostError
from lvseg_export.engines.base import Prediction
from lvseg_export.gate import Canary
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.state import ServerState
from lvseg_serve.waiting import first_of


@dataclass(frozen=True, kw_only=True)
class CanarySettings:
    """How often the server is asked, and when it is given up."""

    every_s: float = 30.0
    """Seconds from one canary's answer to the next."""
    failures: int = 3
    """Canaries in a row that fail before the process is given up: a new one may do better."""
    timeout_s: float = 30.0
    """How long an answer may take, a caller's too. The canary goes before all slices that wait, so load does not delay
    it: before it are at most the calls that the engine is at. The largest of these, 4 Mi pixels
    (rpc/kserve/pixels.py), takes the model that comes with lvseg 3 s on one core; an engine that is silent for ten
    times as long hangs."""


DEFAULT_CANARIES = CanarySettings()


class CanaryWatch:
    """Lets the server's state say what its canary says.

    Args:
        segmenter: What is asked.
        canary: Gives the phantom of the model that answers at the moment.
        state: Where the outcome is written.
        settings: How often, and when to give up.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        canary: Callable[[], Canary],
        state: ServerState,
        settings: CanarySettings = DEFAULT_CANARIES,
    ) -> None:
        self._segmenter = segmenter
        self._canary = canary
        self._state = state
        self._settings = settings
        self._due = asyncio.Event()
        self._failures = 0
        self._passed = 0

    @property
    def passed(self) -> int:
        """How many canaries have passed."""
        return self._passed

    @property
    def failures(self) -> int:
        """How many canaries have failed since the last that passed."""
        return self._failures

    def ask_now(self) -> None:
        """Let the next canary come at once, such as after another model took over."""
        self._due.set()

    async def run(self) -> None:
        """Ask for ever.

        Raises:
            EngineLostError: If the engine is lost, or as many canaries in a row failed as the settings say; the state
                says before that the server cannot answer.
        """
        while True:
            await self.ask()
            await first_of(self._due.wait(), self._segmenter.lost(), timeout_s=self._settings.every_s)
            self._due.clear()

    async def ask(self) -> None:
        """Ask once.

        Raises:
            EngineLostError: As :meth:`run`.
        """
        try:
            await self._answered()
        except EngineLostError as error:
            await self._state.turn(f"the engine is lost: {error}")
            raise
        except EngineError as error:
            if self._due.is_set():
                return  # it was another model's, and the one that answers now is asked at once
            self._failures += 1
            await self._state.turn(str(error))
            if self._failures >= self._settings.failures:
                raise EngineLostError(
                    f"{self._failures} canaries in a row failed, the last one: {error}"
                ) from error
        else:
            if self._due.is_set():
                return
            self._failures = 0
            self._passed += 1
            await self._state.turn()

    async def _answered(self) -> None:
        if self._segmenter.workers == 0:
            raise EngineError("no worker is alive")
        hanging_s = self._segmenter.oldest_call_seconds
        if hanging_s > self._settings.timeout_s:  # the canary may have taken a thread that does not hang
            raise EngineError(f"the engine has been at one call for {hanging_s:.0f} s")
        canary = self._canary()
        found: list[Prediction] = []

        async def probe() -> None:
            found.append(await self._segmenter.probe(canary.pixels))

        try:
            # An engine that hangs is not waited for when another model has taken over.
            await first_of(probe(), self._due.wait(), timeout_s=self._settings.timeout_s)
        except EngineError:
            raise
        except Exception as error:  # an engine that is broken may raise anything
            raise EngineError(f"the engine raised {type(error).__name__} at the canary") from error
        if found:
            await asyncio.to_thread(canary.check, *found)
        elif not self._due.is_set():
            raise EngineError(f"the engine gave the canary no answer within {self._settings.timeout_s:g} s")
