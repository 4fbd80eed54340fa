import json

import pytest

from lvseg.errors import OptionError
from lvseg_export.engines.base import Split
from lvseg_serve.bench.compare import Pair, compare
from lvseg_serve.bench.document import FORMAT, former, read_document, to_document, write_document
from lvseg_serve.bench.rows import Failure, Key

ABOUT = {
    "environment": {"cpu": "an old one", "threads": 2, "load_average": [0.1, 0.2, 0.3]},
    "model": {"version": "0123456789ab"},
    "slice": {"rows": 256},
}


def document(*rows, about=ABOUT):
    failure = Failure(engine="openvino", precision="bf16", reason="no such instructions")
    return to_document(rows, [failure], ratio_to="the first row", about=about)


def test_what_is_written_has_every_figure_and_every_call(make_row, stages, tmp_path):
    row = make_row(10.00004, 20.0, 30.0, stages=stages, errors={"INTERNAL": 2}, gflop=1.0)
    write_document(document(row), tmp_path / "bench.json")
    written = json.loads((tmp_path / "bench.json").read_text())
    assert written["format"] == FORMAT
    (row,) = written["rows"]
    assert row["latencies_ms"] == [10.0, 20.0, 30.0]
    assert (row["calls"], row["p50_ms"], row["gflop_per_s"]) == (3, 20.0, 50.0)
    assert (row["errors"], row["stages"]["rest_ms"]) == ({"INTERNAL": 2}, 8)
    assert written["failures"][0]["reason"] == "no such instructions"
    assert written["environment"] == ABOUT["environment"]


def test_a_split_is_written_by_its_parts_and_nothing_where_there_is_none(make_row, tmp_path):
    write_document(document(make_row(10.0, split=Split(0.5, 8.0, 0.25)), make_row(9.0)), tmp_path / "b.json")
    split, none = (row["split"] for row in json.loads((tmp_path / "b.json").read_text())["rows"])
    assert split == {"upload_ms": 0.5, "compute_ms": 8.0, "download_ms": 0.25}
    assert none is None


def test_a_file_of_before_there_were_splits_is_compared_with(make_row, tmp_path):
    former_document = document(make_row(10.0))
    del former_document["rows"][0]["split"]
    path = tmp_path / "old.json"
    path.write_text(json.dumps(former_document))
    comparison = compare(read_document(path), former(document(make_row(8.0, split=Split(1.0, 5.0, 1.0)))))
    assert [pair.ratio for pair in comparison.pairs] == [0.8]
    assert (comparison.only_old, comparison.only_new, comparison.differing) == ([], [], [])


def test_what_was_written_is_read_back(make_row, tmp_path):
    path = tmp_path / "bench.json"
    write_document(document(make_row(10.0), make_row(30.0, batch=4)), path)
    read = read_document(path)
    assert read.p50_ms == {
        Key("onnxruntime-cpu", "fp32", 1, 2, "closed 1"): 10.0,
        Key("onnxruntime-cpu", "fp32", 4, 2, "closed 1"): 30.0,
    }
    assert read.conditions["slice.rows"] == 256


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("\x00", "is not JSON"),
        ("[1]", "has format None, expected 'lvseg-bench 2'"),
        ('{"rows": []}', "has format None"),
        ('{"format": "lvseg-bench 1"}', "has format 'lvseg-bench 1'"),
        (f'{{"format": "{FORMAT}"}}', "does not have the fields of lvseg-bench 2 ('environment')"),
    ],
)
def test_another_file_is_refused_with_what_it_is(tmp_path, content, message):
    path = tmp_path / "other.json"
    path.write_text(content)
    with pytest.raises(OptionError) as caught:
        read_document(path)
    assert str(caught.value).startswith(f"{path} {message}")
    assert str(caught.value).endswith("; give a file that --json of this lvseg-bench wrote")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("median", [0, -1.0, float("nan"), "fast", None])
def test_a_median_that_is_none_is_refused(make_row, tmp_path, median):
    changed = document(make_row(10.0))
    changed["rows"][0]["p50_ms"] = median
    path = tmp_path / "bench.json"
    path.write_text(json.dumps(changed))
    with pytest.raises(OptionError, match="does not have the fields"):
        read_document(path)


def test_rows_are_matched_and_the_others_and_the_conditions_told(make_row):
    old = former(document(make_row(10.0), make_row(30.0, batch=4), make_row(5.0, precision="int8")))
    elsewhere = {
        **ABOUT,
        "environment": {"cpu": "a new one", "threads": 2, "load_average": [9.0, 9.0, 9.0], "gpu": "H100"},
    }
    rows = (make_row(8.0), make_row(45.0, batch=4), make_row(7.0, loop="open 10/s"))
    comparison = compare(old, former(document(*rows, about=elsewhere)))
    first, second = (Key("onnxruntime-cpu", "fp32", batch, 2, "closed 1") for batch in (1, 4))
    assert comparison.pairs == [
        Pair(key=first, old_ms=10, new_ms=8),
        Pair(key=second, old_ms=30, new_ms=45),
    ]
    assert [pair.ratio for pair in comparison.pairs] == [0.8, 1.5]
    assert comparison.only_old == [Key("onnxruntime-cpu", "int8", 1, 2, "closed 1")]
    assert comparison.only_new == [Key("onnxruntime-cpu", "fp32", 1, 2, "open 10/s")]
    assert comparison.differing == ["environment.cpu", "environment.gpu"]
