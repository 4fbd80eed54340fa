"""Engines of the tiny bundle: loaded once, timed before anything else, in other processes too."""

import dataclasses

import numpy as np
import pytest

from lvseg.errors import EngineError
from lvseg_export.bundle import load_bundle
from lvseg_export.choice import AUTO
from lvseg_export.engines.base import Prediction, Split
from lvseg_export.engines.onnxruntime import OnnxRuntimeEngine
from lvseg_serve.bench.engines import engine_callees, load_engines
from lvseg_serve.bench.known import Known
from lvseg_serve.bench.memory import memory_mib
from lvseg_serve.bench.peak import peak_gflop_per_s
from lvseg_serve.bench.sources import ALL, Source, bundle_sources, find_source, run_source


@pytest.fixture(scope="module")
def loaded(bundle):
    return load_bundle(bundle)


@pytest.fixture
def stacks():
    rng = np.random.default_rng(0)
    return [rng.random((batch, 1, 64, 72), dtype=np.float32) for batch in (1, 3)]


class Watched:
    """ONNX Runtime, with what it was asked for."""

    name, version, file, precision, threads = "watched-cpu", "1", "model.onnx", "fp32", 1

    def __init__(self, path, *, wrong=False):
        self._engine = OnnxRuntimeEngine(path, precision="fp32", threads=1)
        self._wrong = wrong
        self.shapes = []

    def run(self, pixels):
        self.shapes.append(pixels.shape)
        mask, probability = self._engine.run(pixels)
        return Prediction(1 - mask, 1 - probability) if self._wrong else Prediction(mask, probability)


def watched(loaded, made, *, wrong=False):
    def load(_threads):
        made.append(Watched(loaded.path("model.onnx"), wrong=wrong))
        return made[-1]

    return Source(name="watched", precision="fp32", library="onnxruntime", load=load, words=())


def test_an_engine_is_loaded_once_and_its_first_runs_are_those_that_are_timed(loaded, stacks):
    made = []
    (one,), failures = load_engines([watched(loaded, made)], stacks, loaded, 1)
    assert failures == []
    assert [engine.shapes[:2] for engine in made] == [[(1, 1, 64, 72), (3, 1, 64, 72)]]
    assert len(made[0].shapes) > 2  # the gate came after
    assert (one.load_ms > 0, [first > 0 for first in one.first_ms]) == (True, [True, True])


def test_one_that_says_something_else_is_told_and_the_others_are_measured(loaded, stacks):
    sources = [watched(loaded, [], wrong=True), watched(loaded, [])]
    engines, failures = load_engines(sources, stacks, loaded, 1)
    assert len(engines) == 1
    assert [failure.engine for failure in failures] == ["watched"]
    assert "differs from the trained model on phantoms" in failures[0].reason


def test_where_none_is_left_the_reasons_are_the_error(loaded, stacks):
    with pytest.raises(
        EngineError, match=r"watched fp32: watched-cpu \(fp32\) differs from the trained model"
    ):
        load_engines([watched(loaded, [], wrong=True)], stacks, loaded, 1)


def test_each_engine_is_measured_with_each_batch(loaded, stacks):
    engines, _ = load_engines([watched(loaded, [])], stacks, loaded, 1)
    known = Known(
        dice=lambda _: 0.9,
        gflop=2.0,
        peak_gflop_per_s=lambda _: 50.0,
        memory_mib=lambda _source, _engine, stack: float(len(stack)),
    )
    subjects = [callee.subject for callee in engine_callees(engines, stacks, known)]
    assert [(one.batch, one.gflop, one.memory_mib) for one in subjects] == [(1, 2.0, 1.0), (3, 6.0, 3.0)]
    assert {(one.dice, one.peak_gflop_per_s, one.load_ms) for one in subjects} == {
        (0.9, 50.0, engines[0].load_ms)
    }
    assert [one.first_ms for one in subjects] == list(engines[0].first_ms)


def test_an_engine_that_can_split_its_calls_is_split_with_each_batch(loaded, stacks):
    class Telling(Watched):
        def split_ms(self, pixels):
            return Split(len(pixels), 2, 3)

    def source(engine):
        return dataclasses.replace(
            watched(loaded, []), load=lambda _threads: engine(loaded.path("model.onnx"))
        )

    engines, _ = load_engines([source(Telling), source(Watched)], stacks, loaded, 1)
    nothing = Known(
        dice=lambda _: None,
        gflop=None,
        peak_gflop_per_s=lambda _: None,
        memory_mib=lambda *_: None,
    )
    splits = [callee.split for callee in engine_callees(engines, stacks, nothing)]
    assert [split() for split in splits[:2]] == [Split(1, 2, 3), Split(3, 2, 3)]
    assert splits[2:] == [None, None]


def test_a_source_is_found_again_by_its_words(loaded, trained_run, stacks):
    sources = [*bundle_sources(loaded, ALL, "fp32", 1), run_source(trained_run, compiled=False, device="cpu")]
    for source in sources:
        found = find_source(source.words)
        assert (found.name, found.precision, found.words) == (source.name, source.precision, source.words)
    compiled = run_source(trained_run, compiled=True, device="cpu")
    assert find_source(compiled.words).name == "torch.compile"
    engines, failures = load_engines(sources, stacks, loaded, 1)
    assert failures == []
    assert [one.engine.name for one in engines][:: len(engines) - 1] == ["onnxruntime-cpu", "torch-cpu"]


def test_of_several_the_fastest_is_the_one_that_is_loaded(loaded):
    (chosen,) = bundle_sources(loaded, AUTO, AUTO, 1)
    assert chosen.name in {"onnxruntime", "openvino"}


def test_a_larger_batch_needs_more_memory(loaded):
    (source,) = bundle_sources(loaded, "onnxruntime", "fp32", 1)
    small, large = (memory_mib(source, (batch, 1, 256, 256), 1) for batch in (1, 16))
    assert 5 < small < large < 4096


def test_memory_that_cannot_be_measured_tells_why(loaded):
    (source,) = bundle_sources(loaded, "onnxruntime", "fp32", 1)
    with pytest.raises(
        EngineError, match=r"its memory could not be measured: .*expected float32 pixels of shape"
    ):
        memory_mib(source, (1, 2, 64, 64), 1)


def test_the_processor_has_a_peak():
    # From a processor of twenty years ago to one of the fastest, on one thread.
    assert 0.5 < peak_gflop_per_s(1) < 1000
