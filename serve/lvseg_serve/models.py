"""The model that answers, the one before it, and the way from one to the other while slices come in."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from lvseg.errors import BundleError, EngineError, InputError, LvsegError, OptionError
from lvseg_export.bundle import Bundle, load_bundle
from lvseg_export.choice import choose_engine
from lvseg_export.engines.base import Engine
from lvseg_export.engines.plans import PlanOptions
from lvseg_export.gate import Canary, choose_canary
from lvseg_serve import events
from lvseg_serve.answers import ModelIdentity, ServerInfo, Swapped
from lvseg_serve.canary import DEFAULT_CANARIES
from lvseg_serve.info import server_info
from lvseg_serve.logs import log
from lvseg_serve.segmenter import Handover, Segmenter
from lvseg_serve.state import ServerState
from lvseg_serve.withheld import describe


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedModel:
    """A model that passed the gate, ready to answer."""

    folder: Path
    """Its bundle, as it was named: a link is not followed, so that the folder may be another one the next time."""
    engine: Engine
    canary: Canary
    info: ServerInfo
    """What a server that runs it says of itself."""
    why: str
    """For people: what the engine was chosen from, and by what; empty where there was nothing to choose from."""


@dataclass(frozen=True, kw_only=True)
class ModelLoader:
    """How each model of a server is loaded; the options are those of :func:`lvseg_export.choice.choose_engine`."""

    runtime: str
    precision: str
    threads: int | None
    plans: PlanOptions
    max_message_bytes: int
    max_pending: int

    def load(self, bundle: Bundle) -> LoadedModel:
        """Load a bundle's model and hold it to the gate, in the caller's thread.

        Raises:
            OptionError: If the bundle has nothing for the options.
            EngineError: If the model does not load, or does not say what it said at export.
        """
        choice = choose_engine(bundle, self.runtime, self.precision, threads=self.threads, plans=self.plans)
        return LoadedModel(
            folder=bundle.folder,
            engine=choice.engine,
            canary=choose_canary(choice.engine, bundle),
            info=server_info(
                bundle,
                choice.engine,
                max_message_bytes=self.max_message_bytes,
                max_pending=self.max_pending,
            ),
            why=choice.why,
        )


class Models:
    """Swaps the model of a server; for its event loop's thread.

    The model before the one that answers is kept, so that the way back takes no time; the one before that is not.

    Args:
        segmenter: What answers with ``first``.
        state: Of the server; says at each moment what answers.
        loader: How further ones are loaded.
        first: The model that answers.
        bundles: The only folder that bundles named by :meth:`swap` may lie in; ``None``: none is accepted.
        same_grid: Whether callers bring slices to the working grid themselves, so that it has to stay what it is.
        hanging_s: How long a former engine may be at a call of before its swap until it counts as hanging.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        state: ServerState,
        loader: ModelLoader,
        first: LoadedModel,
        *,
        bundles: Path | None = None,
        same_grid: bool = False,
        hanging_s: float = DEFAULT_CANARIES.timeout_s,
    ) -> None:
        self._segmenter = segmenter
        self._state = state
        self._loader = loader
        self._current = first
        self._former: LoadedModel | None = None
        self._handover: Handover | None = None
        self._farewells: set[asyncio.Task[None]] = set()
        self._hanging_s = hanging_s
        self._bundles = bundles
        self._same_grid = same_grid
        self._one_at_a_time = asyncio.Lock()
        # Of its own: asyncio waits for its default threads when it ends, and loading may take minutes.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lvseg-loader")
        self._on_swap: Callable[[ServerInfo], object] = lambda _: None

    @property
    def current(self) -> LoadedModel:
        """The model that answers."""
        return self._current

    @property
    def former(self) -> LoadedModel | None:
        """The model that answered before; ``None`` where there was none."""
        return self._former

    def on_swap(self, told: Callable[[ServerInfo], object]) -> None:
        """Name a function that is told whenever another model has begun to answer."""
        self._on_swap = told

    async def swap(self, folder: Path) -> Swapped:
        """Let the model of another bundle answer; slices that began with the former are finished by it.

        Args:
            folder: The bundle; a relative path counts from the folder of bundles.

        Raises:
            InputError: If the folder is not one that may be named here, or not a bundle. The model stays what it was,
                here and below.
            EngineError: If the model does not load, or does not say what it said at export.
        """
        if self._bundles is None:
            raise _refused("this server takes no bundles: it was started without --bundles")
        # Links are followed first, so that what is checked is what is loaded.
        bundles = self._bundles.resolve()
        real = (bundles / folder).resolve()
        if not real.is_relative_to(bundles):
            raise _refused(
                "the bundle is not in the folder of --bundles, from which alone this server takes bundles"
            )
        return await self._load_and_switch(real)

    async def reload(self) -> Swapped:
        """Let the model answer that the current one's folder holds now.

        Raises:
            InputError: If it is not a bundle any more.
            EngineError: As :meth:`swap`.
        """
        return await self._load_and_switch(self._current.folder)

    async def roll_back(self) -> Swapped:
        """Let the former model answer again; the current one becomes the former.

        Raises:
            OptionError: If there is none.
            EngineError: If its engine is still at a call that began before it was swapped, and seems to hang.
        """
        async with self._one_at_a_time:
            if self._former is None:
                raise OptionError(
                    "there is no former model: none was swapped since the server started",
                    reason="NO_FORMER_MODEL",
                )
            if self._handover is not None:
                # The former engine has its limit of calls, and may be at some of before the swap.
                await asyncio.wait([self._handover.done], timeout=self._hanging_s)
                if not self._handover.done.done():
                    raise EngineError(
                        f"the former model's engine has been at one call for more than {self._hanging_s:g} s and may "
                        "hang; swap its bundle, which loads it again"
                    )
            return self._switch(self._former)

    async def _load_and_switch(self, folder: Path) -> Swapped:
        async with self._one_at_a_time:
            try:
                loaded = await asyncio.get_running_loop().run_in_executor(self._thread, self._load, folder)
            except (LvsegError, OSError) as error:
                log(events.SwapFailed(error=str(error)))
                raise
            except Exception as error:  # a runtime may raise anything at a file that it does not understand
                log(events.SwapFailed(error=describe(error)))
                raise
            return self._switch(loaded)

    def _load(self, folder: Path) -> LoadedModel:
        bundle = load_bundle(folder)
        expected = self._state.info.working_spacing_mm
        found = bundle.manifest.input.working_spacing_mm
        if self._same_grid and found != expected:
            raise BundleError(
                f"{folder} wants slices of {found:g} mm, and callers of --kserve send {expected:g} mm; start another "
                "server for it",
                reason="OTHER_GRID",
                field="input.working_spacing_mm",
                expected=f"{expected:g}",
            )
        return self._loader.load(bundle)

    def _switch(self, loaded: LoadedModel) -> Swapped:
        former, self._former, self._current = self._current, self._current, loaded
        self._state.info = loaded.info
        self._on_swap(loaded.info)
        swapped = Swapped(loaded.info.model, former.info.model)
        log(events.Swapped.of(*swapped))
        # Up to the segmenter's own switch nothing else runs in the event loop.
        self._handover = self._segmenter.swap(
            loaded.engine, model=loaded.info.model, working_spacing_mm=loaded.info.working_spacing_mm
        )
        farewell = asyncio.create_task(self._see_off(former.info.model, self._handover))
        self._farewells.add(farewell)
        farewell.add_done_callback(self._farewells.discard)
        return swapped

    async def _see_off(self, former: ModelIdentity, handover: Handover) -> None:
        """Give up a former engine that stays at a call, which keeps its memory; say so, and when that has returned."""
        began = monotonic()
        await asyncio.wait([handover.done], timeout=self._hanging_s)
        if not handover.done.done():
            log(events.FormerHangs(model=former.name, version=former.version, seconds=self._hanging_s))
            handover.give_up()
            await asyncio.wait([handover.done])
            seconds = round(monotonic() - began, 3)
            log(events.FormerLetGo(model=former.name, version=former.version, seconds=seconds))


def _refused(message: str) -> InputError:
    return InputError(
        message, reason="BUNDLE_REFUSED", field="path", expected="a bundle in the folder of --bundles"
    )
