"""Two benchmarks side by side: which rows became faster, and whether they can be compared at all."""

from collections.abc import Sequence
from dataclasses import dataclass

from lvseg_serve.bench.document import Former
from lvseg_serve.bench.environment import VOLATILE
from lvseg_serve.bench.rows import Key


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One row of both benchmarks."""

    key: Key
    old_ms: float
    new_ms: float

    @property
    def ratio(self) -> float:
        """New median by old: below 1 is faster."""
        return self.new_ms / self.old_ms


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What two benchmarks have in common, and what not."""

    pairs: Sequence[Pair]
    only_old: Sequence[Key]
    only_new: Sequence[Key]
    differing: Sequence[str]
    """Conditions that are not the same, but for those that never are."""


def compare(old: Former, new: Former) -> Comparison:
    """Match rows by engine, precision, batch, threads and loop."""
    conditions = dict.fromkeys((*old.conditions, *new.conditions))
    return Comparison(
        pairs=[
            Pair(key=key, old_ms=old.p50_ms[key], new_ms=new_ms)
            for key, new_ms in new.p50_ms.items()
            if key in old.p50_ms
        ],
        only_old=[key for key in old.p50_ms if key not in new.p50_ms],
        only_new=[key for key in new.p50_ms if key not in old.p50_ms],
        differing=[
            name
            for name in conditions
            if name.partition(".")[2] not in VOLATILE and old.conditions.get(name) != new.conditions.get(name)
        ],
    )
