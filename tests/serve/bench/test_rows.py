import pytest

from lvseg_serve.answers import StageTimings
from lvseg_serve.bench.rows import Row, Stages, Subject


def subject(**known: object) -> Subject:
    return Subject(**{"engine": "a-cpu", "precision": "fp32", "batch": 2, "threads": 1, **known})


def timings(decode_ms: float, inference_ms: float) -> StageTimings:
    return StageTimings(
        decode_ms=decode_ms,
        resample_ms=2,
        inference_ms=inference_ms,
        postprocess_ms=1,
        compare_ms=0,
        total_ms=decode_ms + inference_ms + 3,
    )


def test_percentiles_are_those_of_the_definition():
    row = Row(subject=subject(), latencies_ms=(40.0, 10.0, 30.0, 20.0), calls_per_s=40)
    # Between the values, in proportion: the 90th percentile is 0.9 * 3 = 2.7 steps from 10.
    assert (row.p50_ms, row.max_ms, row.slices_per_s) == (25.0, 40.0, 80)
    assert (row.p90_ms, row.p99_ms) == (pytest.approx(37.0), pytest.approx(39.7))


def test_arithmetic_a_second_and_its_share_of_the_peak():
    row = Row(subject=subject(gflop=5.0, peak_gflop_per_s=400.0), latencies_ms=(25.0,), calls_per_s=40)
    assert (row.gflop_per_s, row.peak_share) == (200.0, 0.5)


def test_what_is_not_known_has_no_share():
    row = Row(subject=subject(gflop=5.0), latencies_ms=(25.0,), calls_per_s=40)
    assert (row.gflop_per_s, row.peak_share) == (200.0, None)
    assert Row(subject=subject(), latencies_ms=(25.0,), calls_per_s=40).gflop_per_s is None


def test_the_stages_and_the_rest_are_the_mean_latency():
    stages = Stages.of([30.0, 50.0], [timings(4, 10), timings(6, 20)])
    assert stages == Stages(decode_ms=5, resample_ms=2, inference_ms=15, postprocess_ms=1, rest_ms=17)
    assert 5 + 2 + 15 + 1 + 17 == (30 + 50) / 2
