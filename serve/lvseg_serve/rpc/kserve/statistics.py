"""How many requests each model answered and how long that took, for those who ask: perf_analyzer does."""

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum

from tritonclient.grpc import service_pb2 as pb

from lvseg_serve.rpc.kserve.spec import VERSION


class Stage(StrEnum):
    """Where a request's time goes, by the protocol's names."""

    READ = "compute_input"
    """Reading the request's tensors."""
    INFER = "compute_infer"
    """All that the model does, with every wait for the engine."""
    WRITE = "compute_output"
    """Writing the answer's tensors."""


class Laps:
    """The time that one request spent in each stage."""

    def __init__(self) -> None:
        self.started_ns = self._last_ns = time.perf_counter_ns()
        self.stage_ns: Counter[Stage] = Counter()

    def lap(self, stage: Stage) -> None:
        """Say that it was this stage that went on since the last call."""
        last_ns, self._last_ns = self._last_ns, time.perf_counter_ns()
        self.stage_ns[stage] += self._last_ns - last_ns


class Tally:
    """One model's requests since the server started; changed in the event loop's thread alone."""

    def __init__(self) -> None:
        self._slices = 0
        self._answered = pb.StatisticDuration()
        self._failed = pb.StatisticDuration()
        self._stage_ns: Counter[Stage] = Counter()
        self._last_ms = 0  # when the last was answered, in milliseconds since 1970; 0 before the first

    @contextmanager
    def request(self) -> Iterator[Laps]:
        """Count the request that the block answers; one whose caller left counts as neither good nor bad."""
        laps = Laps()
        try:
            yield laps
        except Exception:
            _add(self._failed, laps)
            raise
        _add(self._answered, laps)
        self._stage_ns += laps.stage_ns
        self._last_ms = time.time_ns() // 10**6

    def add_slices(self, count: int) -> None:
        """Count the slices of a request that was answered."""
        self._slices += count

    def to_message(self, name: str) -> pb.ModelStatistics:
        """Return it in Triton's form.

        Waits are part of the inference; perf_analyzer, which wants one count for all, is told that they took no time.
        """
        count = self._answered.count
        stages = {stage.value: pb.StatisticDuration(count=count, ns=self._stage_ns[stage]) for stage in Stage}
        return pb.ModelStatistics(
            name=name,
            version=VERSION,
            last_inference=self._last_ms,
            inference_count=self._slices,
            execution_count=count,
            inference_stats=pb.InferStatistics(
                success=self._answered, fail=self._failed, queue=pb.StatisticDuration(count=count), **stages
            ),
        )


def _add(spent: pb.StatisticDuration, laps: Laps) -> None:
    spent.count += 1
    spent.ns += time.perf_counter_ns() - laps.started_ns
