"""What runs the stages around the engine."""

from collections.abc import Callable
from typing import Protocol, TypeVar, TypeVarTuple

_Arguments = TypeVarTuple("_Arguments")
_Result = TypeVar("_Result")


class Runner(Protocol):
    """Runs functions somewhere else than in the event loop."""

    @property
    def alive(self) -> int:
        """How many calls it can run at a time at this moment."""
        ...

    async def run(self, function: Callable[[*_Arguments], _Result], *arguments: *_Arguments) -> _Result:
        """Call a function and return what it returns, or raise what it raises."""
        ...

    async def close(self) -> None:
        """End what it runs in."""
        ...
