import io

from rich.console import Console

from lvseg_export.engines.base import Split
from lvseg_serve.bench.compare import Comparison, Pair
from lvseg_serve.bench.rows import Failure, Key
from lvseg_serve.bench.table import print_comparison, print_measured


def printed(*rows, failures=()) -> list[str]:
    stream = io.StringIO()
    print_measured(rows, failures, ratio_to="the first row", to=Console(file=stream, width=140))
    return stream.getvalue().splitlines()


def heading(lines: list[str], first: str) -> str:
    return next(line for line in lines if line.strip().startswith(first))


def test_the_widest_tables_fit_140_columns(make_row, stages):
    known = {"load_ms": 12345.0, "first_ms": 66873.0, "dice": 0.9335, "gflop": 99.0, "memory_mib": 12345.0}
    engine = make_row(12345.6, engine="torch-compile-cpu", batch=16, peak_gflop_per_s=50.0, **known)
    gpu = make_row(
        12345.6, engine="torch-compile-cuda", batch=16, split=Split(1234.5, 12345.6, 1234.5), **known
    )
    server = make_row(12345.6, engine="onnxruntime-cpu via gRPC", loop="open 1000/s", stages=stages)
    lines = printed(engine, gpu, server)
    assert max(map(len, lines)) <= 140
    assert not any("…" in line for line in lines)
    for word in ("ratio", "Dice", "MiB", "inference", "rest"):
        assert any(word in line for line in lines)


def test_columns_that_nothing_is_known_for_are_left_out(make_row):
    line = heading(printed(make_row(10.0)), "engine")
    assert "Dice" not in line
    assert "MiB" not in line
    assert "ratio" in line


def test_a_gpus_parts_are_columns_where_there_is_one(make_row):
    gpu = make_row(10.0, engine="tensorrt-cuda", split=Split(0.5, 8.25, 0.125))
    cpu = make_row(30.0)
    lines = printed(gpu, cpu)
    assert heading(lines, "p50").split() == ["p50", "p90", "p99", "load", "pute", "load", "slices"]
    assert heading(lines, "tensorrt-cuda").split()[3:10] == [
        "10.0",
        "10.0",
        "10.0",
        "0.500",
        "8.25",
        "0.125",
        "100.0",
    ]
    assert heading(lines, "onnxruntime-cpu").split()[6:9] == ["-", "-", "-"]
    assert not any("pute" in line for line in printed(cpu))


def test_a_failure_is_a_row_and_its_reason_stands_below(make_row):
    failure = Failure(engine="openvino", precision="bf16", reason="no [such] instructions")
    lines = printed(make_row(10.0), failures=[failure])
    row = heading(lines, "openvino")
    assert row.split()[:4] == ["openvino", "bf16", "-", "-"]
    assert "openvino bf16: not measured: no [such] instructions" in lines


def test_errors_are_told_by_code_with_how_many_calls_there_were(make_row, stages):
    row = make_row(*[10.0] * 7, stages=stages, loop="open 5/s", errors={"UNAVAILABLE": 2, "INTERNAL": 1})
    told = "onnxruntime-cpu fp32, batch 1, 2 thread(s), open 5/s: 3 of 10 calls failed: INTERNAL 1, UNAVAILABLE 2"
    assert told in printed(row)


def test_a_comparison_tells_ratios_and_what_differs():
    key, other = (Key("onnxruntime-cpu", "fp32", batch, 2, "closed 1") for batch in (1, 4))
    comparison = Comparison(
        pairs=[Pair(key=key, old_ms=10, new_ms=8)],
        only_old=[other],
        only_new=[],
        differing=["environment.cpu"],
    )
    stream = io.StringIO()
    print_comparison(comparison, "old.json", to=Console(file=stream, width=140))
    lines = stream.getvalue().splitlines()
    row = heading(lines, "onnxruntime-cpu").split()
    assert row == ["onnxruntime-cpu", "fp32", "1", "2", "closed", "1", "10.0", "8.00", "0.80"]
    assert "only in old.json: onnxruntime-cpu fp32, batch 4, 2 thread(s), closed 1" in lines
    assert "not measured alike, these differ: environment.cpu" in lines
