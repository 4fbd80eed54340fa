"""Rounds on a clock that only the calls move."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from lvseg.errors import EngineError, LvsegError, ServerError
from lvseg_export.engines.base import Split
from lvseg_serve.bench import rounds
from lvseg_serve.bench.rounds import Callee, describe_reference, measure, reference
from lvseg_serve.bench.rows import Failure, Subject


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def call(self, *milliseconds: float | LvsegError) -> Callable[[], None]:
        """Return a call that takes these times, or raises these errors, one after the other."""
        left = iter(milliseconds)

        def call() -> None:
            following = next(left)
            if isinstance(following, LvsegError):
                raise following
            self.now_s += following / 1e3

        return call


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(rounds, "time", SimpleNamespace(perf_counter=lambda: clock.now_s))
    return clock


def subject(engine: str, precision: str = "fp32", batch: int = 1) -> Subject:
    return Subject(engine=engine, precision=precision, batch=batch, threads=1)


def test_the_warm_up_does_not_count_and_the_ratio_is_of_rounds(clock):
    rows = measure(
        [
            Callee(subject("onnxruntime-cpu"), clock.call(900, 10, 20, 30)),
            Callee(subject("openvino-cpu"), clock.call(500, 5, 30, 18)),
        ],
        calls=3,
        warmup=1,
    )
    assert rows[0].latencies_ms == pytest.approx((10, 20, 30))
    assert rows[1].latencies_ms == pytest.approx((5, 30, 18))
    # Round by round 0.5, 1.5 and 0.6: not the ratio of the medians, 0.9.
    assert (rows[0].ratio, rows[1].ratio) == (pytest.approx(1), pytest.approx(0.6))
    assert rows[0].calls_per_s == pytest.approx(50)


def test_a_batch_is_compared_with_the_same_batch_slice_for_slice(clock):
    rows = measure(
        [
            Callee(subject("torch-cpu", batch=4), clock.call(80)),
            Callee(subject("onnxruntime-cpu", batch=1), clock.call(16)),
            Callee(subject("onnxruntime-cpu", batch=4), clock.call(40)),
            Callee(subject("onnxruntime-cpu via gRPC", batch=1), clock.call(24)),
        ],
        calls=1,
        warmup=0,
    )
    assert [row.ratio for row in rows] == pytest.approx([2, 1, 1, 1.5])
    assert rows[2].slices_per_s == pytest.approx(100)


@pytest.mark.parametrize(
    ("subjects", "usable", "expected", "told"),
    [
        (
            [subject("a"), subject("onnxruntime-cpu")],
            [True, True],
            1,
            "onnxruntime-cpu fp32 of the same batch",
        ),
        ([subject("a"), subject("onnxruntime-cpu", "int8")], [True, True], 0, "the first row, a fp32"),
        ([subject("onnxruntime-cpu", batch=8), subject("a")], [True, True], 0, None),
        ([subject("onnxruntime-cpu"), subject("a"), subject("b")], [False, True, True], 1, None),
    ],
)
def test_ratios_are_to_onnxruntime_in_fp32_or_else_to_the_first_row(subjects, usable, expected, told):
    assert reference(subjects, usable, batch=1) == expected
    if told:
        assert describe_reference(subjects) == told


def test_an_error_is_counted_by_its_code_and_is_no_latency(clock):
    gone = ServerError("no server answers", code="UNAVAILABLE")
    (row,) = measure([Callee(subject("a"), clock.call(10, gone, 30, gone))], calls=4, warmup=0)
    assert row.latencies_ms == pytest.approx((10, 30))
    assert row.errors == {"UNAVAILABLE": 2}


def test_what_never_answers_is_a_failure_and_the_others_are_measured(clock):
    broken = EngineError("the device is gone")
    failure, row = measure(
        [
            Callee(subject("onnxruntime-cpu"), clock.call(broken, broken)),
            Callee(subject("b"), clock.call(7, 9)),
        ],
        calls=2,
        warmup=0,
    )
    assert failure == Failure(engine="onnxruntime-cpu", precision="fp32", reason="the device is gone")
    assert row.latencies_ms == pytest.approx((7, 9))
    assert row.ratio == 1


def test_calls_are_split_after_the_rounds_and_the_row_has_the_median_of_each_part(clock):
    done: list[str] = []
    splits = iter([Split(90, 900, 9000), Split(1, 30, 100), Split(3, 10, 200), Split(2, 20, 300)])

    def split() -> Split:
        done.append("split")
        clock.now_s += 1
        return next(splits)

    def call() -> None:
        done.append("call")
        clock.now_s += 0.005

    callees = [Callee(subject("a"), call, split), Callee(subject("b"), call)]
    first, second = measure(callees, calls=3, warmup=1)
    assert done == ["call"] * 8 + ["split"] * 4
    assert first.split == Split(2, 20, 200)  # of the three that count
    assert first.latencies_ms == pytest.approx((5, 5, 5))
    assert second.split is None


def test_a_split_that_fails_is_told_and_the_row_stays(clock, capsys):
    def split() -> Split:
        raise EngineError("no events")

    (row,) = measure([Callee(subject("a"), clock.call(7), split)], calls=1, warmup=0)
    assert (row.p50_ms, row.split) == (pytest.approx(7), None)
    told = "a fp32, batch 1, 1 thread(s), closed 1: its transfers are not told: no events"
    assert capsys.readouterr().err == f"{told}\n"


def test_what_never_answers_is_not_split(clock):
    def split() -> Split:
        raise AssertionError

    broken = Callee(subject("a"), clock.call(EngineError("gone")), split)
    failure, _ = measure([broken, Callee(subject("b"), clock.call(7))], calls=1, warmup=0)
    assert failure == Failure(engine="a", precision="fp32", reason="gone")
