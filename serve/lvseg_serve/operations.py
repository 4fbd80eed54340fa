"""What an operator may ask of a running server."""

from pathlib import Path
from time import monotonic

from lvseg_serve.answers import Status, Swapped
from lvseg_serve.canary import CanaryWatch
from lvseg_serve.models import Models
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.state import ServerState


class Operations:
    """A running server, as its operator sees it; for its event loop's thread."""

    def __init__(self, models: Models, segmenter: Segmenter, state: ServerState, watch: CanaryWatch) -> None:
        self._models = models
        self._segmenter = segmenter
        self._state = state
        self._watch = watch
        self._started = monotonic()

    def status(self) -> Status:
        """Tell how the server is."""
        former = self._models.former
        return Status(
            model=self._models.current.info.model,
            bundle=str(self._models.current.folder),
            former_model=None if former is None else former.info.model,
            uptime_s=monotonic() - self._started,
            pending=self._segmenter.pending,
            queued=self._segmenter.queued,
            workers=self._segmenter.workers,
            serving=self._state.serving,
            why_not_serving=self._state.why,
            canaries_passed=self._watch.passed,
            canaries_failed_in_a_row=self._watch.failures,
        )

    async def swap(self, bundle: Path) -> Swapped:
        """Let the model of another bundle answer; raises what :meth:`Models.swap` does."""
        return await self._models.swap(bundle)

    async def roll_back(self) -> Swapped:
        """Let the former model answer again; raises what :meth:`Models.roll_back` does."""
        return await self._models.roll_back()
