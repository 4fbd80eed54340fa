"""What the Open Inference Protocol lets a model say of itself: its tensors, and what it does with them.

Sources: https://github.com/kserve/open-inference-protocol (specification/protocol/open_inference_grpc.proto).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from lvseg_serve.answers import ModelIdentity

ANY = -1
"""A side of a shape that may have any length."""

VERSION = "1"
"""Of every model here: Triton's versions are whole numbers, so the bundle's own goes with the parameters."""


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """One input or output of a model."""

    name: str
    datatype: str
    """In the protocol's words, such as ``"FP32"``."""
    shape: tuple[int, ...]
    """Sides, the batch's too; :data:`ANY` where it may be any."""
    optional: bool = False


class Answer(NamedTuple):
    """What a model says to one request."""

    tensors: Mapping[str, NDArray[Any]]
    """The outputs that were wanted, by name."""
    slices: int
    """How many it looked at."""
    model: ModelIdentity
    """What answered."""


class Model(Protocol):
    """One model that is offered."""

    @property
    def name(self) -> str:
        """By which requests ask for it."""
        ...

    @property
    def max_batch(self) -> int:
        """Most slices in one request; 0 for a model whose shapes have no side for a batch."""
        ...

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What it takes."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What it may answer."""
        ...

    async def infer(self, inputs: Mapping[str, NDArray[Any]], wanted: frozenset[str]) -> Answer:
        """Answer one request.

        Args:
            inputs: Arrays of the types and shapes of :attr:`inputs`; optional ones may be absent.
            wanted: Names of the outputs that shall be answered.

        Raises:
            InputError: If a value is one that the model does not take.
            OverloadError: If too many slices are under way.
            EngineError: If the engine fails.
        """
        ...
