import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from lvseg.errors import EngineError, OptionError
from lvseg_export import choice
from lvseg_export.bundle import REFERENCE, EngineFile, load_bundle
from lvseg_export.choice import RUNTIMES, Runtime, choose_engine, find_candidates, load_engine
from lvseg_export.engines.base import Prediction
from lvseg_export.engines.plans import PlanOptions


class Known:
    """Says what the reference says, after a while; or what it is not."""

    version, threads = "1", 1

    def __init__(self, bundle, name: str, precision: str, seconds: float, wrong: bool) -> None:
        self.name, self.precision, self.file = name, precision, "model.onnx"
        self._seconds, self._wrong = seconds, wrong
        with np.load(bundle.path(REFERENCE)) as reference:
            self._known = {
                pixels.tobytes(): (mask, probability)
                for pixels, mask, probability in zip(
                    reference["pixels"], reference["mask"], reference["probability"], strict=True
                )
            }

    def run(self, pixels):
        time.sleep(self._seconds)
        zeros = np.zeros(pixels.shape[2:], np.float32)
        answers = [self._known.get(one.tobytes(), (zeros.astype(np.uint8), zeros)) for one in pixels]
        mask = np.stack([mask for mask, _ in answers])
        return Prediction(1 - mask if self._wrong else mask, np.stack([one for _, one in answers]))


@pytest.fixture
def loaded(bundle):
    return load_bundle(bundle)


@pytest.fixture
def runtimes(loaded, monkeypatch):
    """Take the place of the runtimes that are here: each by name with its seconds a run, or an error."""

    def take(**engines: float | str) -> None:
        def load_of(name: str, behaviour: float | str):
            def load(_path: Path, precision: str, _threads: int | None, _plans: PlanOptions):
                if isinstance(behaviour, str) and behaviour != "wrong":
                    raise EngineError(behaviour)
                wrong = behaviour == "wrong"
                return Known(loaded, name, precision, 0.0 if wrong else behaviour, wrong)

            return load

        taken = {
            name: Runtime(
                name=name,
                module="numpy",
                extra="serve",
                precisions={"fp32": "fp32"},
                engine=load_of(name, behaviour),
            )
            for name, behaviour in engines.items()
        }
        monkeypatch.setattr(choice, "RUNTIMES", taken)

    return take


def test_the_fastest_is_taken_and_the_others_are_told(loaded, runtimes):
    runtimes(slow=0.05, fast=0.001)
    chosen = choose_engine(loaded)
    assert chosen.engine.name == "fast"
    assert chosen.why.startswith("fast fp32: ")
    assert "slow fp32 5" in chosen.why


def test_one_that_says_something_else_makes_room_however_fast(loaded, runtimes):
    runtimes(honest=0.02, liar="wrong")
    chosen = choose_engine(loaded)
    assert chosen.engine.name == "honest"
    assert "liar (fp32) differs from the trained model on phantoms" in chosen.why


def test_one_that_cannot_be_loaded_makes_room(loaded, runtimes):
    runtimes(broken="its library is too old", whole=0.0)
    chosen = choose_engine(loaded)
    assert chosen.engine.name == "whole"
    assert "broken fp32: its library is too old" in chosen.why


def test_where_none_is_left_each_tells_its_reason(loaded, runtimes):
    runtimes(broken="its library is too old", liar="wrong")
    with pytest.raises(
        EngineError, match=r"its library is too old; .*liar .* differs from the trained model"
    ):
        choose_engine(loaded)


def test_the_engine_asked_for_is_refused_if_it_lies(loaded, runtimes):
    runtimes(honest=0.0, liar="wrong")
    with pytest.raises(EngineError, match="differs from the trained model on phantoms"):
        load_engine(loaded, "liar")


def test_an_unknown_engine_names_the_known_ones(loaded):
    with pytest.raises(
        OptionError, match="no engine 'caffe'; known: auto, onnxruntime, onnxruntime-cuda, openvino, tensorrt"
    ):
        load_engine(loaded, "caffe")


def test_an_unknown_precision_names_the_known_ones(loaded):
    with pytest.raises(OptionError, match="no precision 'fp8'; known: auto, fp32, fp16, bf16, int8"):
        load_engine(loaded, precision="fp8")


def test_a_precision_without_a_file_tells_how_to_get_one(loaded):
    with pytest.raises(OptionError, match=r"holds model\.onnx: .* export it with --precision int8"):
        load_engine(loaded, "onnxruntime", "int8")


def test_a_runtime_that_is_not_installed_names_its_extra(loaded, monkeypatch):
    missing = dataclasses.replace(RUNTIMES["openvino"], module="no_such_module")
    monkeypatch.setattr(choice, "RUNTIMES", {"openvino": missing})
    with pytest.raises(OptionError, match=r"not installed; run: pip install 'lvseg\[openvino\]'"):
        load_engine(loaded, "openvino")


def test_bf16_which_has_no_file_has_to_be_asked_for(loaded):
    assert "bf16" not in {candidate.precision for candidate in find_candidates(loaded)}


def test_a_runtime_that_cannot_compute_in_a_precision_advises_no_export(loaded):
    with pytest.raises(OptionError) as caught:
        load_engine(loaded, "onnxruntime", "bf16")
    assert str(caught.value) == (
        "onnxruntime does not compute in bf16; take --engine openvino or tensorrt, or another --precision"
    )


def test_a_file_that_nothing_examined_has_to_be_asked_for(loaded, runtimes):
    runtimes(fast=0.0)
    runtime = dataclasses.replace(choice.RUNTIMES["fast"], precisions={"fp32": "fp32", "bf16": "bf16"})
    choice.RUNTIMES["fast"] = runtime
    for examined, automatic in ((False, ["fp32"]), (True, ["fp32", "bf16"])):
        file = EngineFile(file="model.bf16.onnx", runtime="onnx", precision="bf16", examined=examined)
        engines = (*loaded.manifest.engines, file)
        bundle = dataclasses.replace(loaded, manifest=dataclasses.replace(loaded.manifest, engines=engines))
        assert [candidate.precision for candidate in find_candidates(bundle)] == automatic
        every = find_candidates(bundle, unexamined=True)
        assert [candidate.precision for candidate in every] == ["fp32", "bf16"]
        assert [candidate.precision for candidate in find_candidates(bundle, "fast", "bf16")] == ["bf16"]


def lacks_a_gpu(_precision: str) -> str:
    return "no NVIDIA GPU"


def test_what_this_machine_lacks_something_for_is_passed_over(loaded, runtimes):
    runtimes(whole=0.0, gpu=0.0)
    choice.RUNTIMES["gpu"] = dataclasses.replace(choice.RUNTIMES["gpu"], lacking=lacks_a_gpu)
    assert choose_engine(loaded).why == ""
    assert [candidate.runtime.name for candidate in find_candidates(loaded)] == ["whole"]


def test_what_this_machine_lacks_something_for_says_so_to_those_who_name_it(loaded, runtimes):
    runtimes(whole=0.0, gpu=0.0)
    choice.RUNTIMES["gpu"] = dataclasses.replace(choice.RUNTIMES["gpu"], lacking=lacks_a_gpu)
    with pytest.raises(OptionError, match=r"^gpu: no NVIDIA GPU$"):
        load_engine(loaded, "gpu")


def test_a_module_that_a_runtime_wants_beside_its_own_names_the_extra(loaded):
    def lacking(_precision: str) -> str:
        raise ModuleNotFoundError("No module named 'cuda'", name="cuda")

    lacks = dataclasses.replace(RUNTIMES["tensorrt"], lacking=lacking).lacks("fp32")
    assert lacks == "cuda is not installed; run: pip install 'lvseg[tensorrt]'"


def test_a_broken_library_is_tried_and_told_of(loaded, runtimes):
    runtimes(whole=0.0, broken="both are installed")

    def lacking(_precision: str) -> str:
        raise EngineError("both are installed")

    choice.RUNTIMES["broken"] = dataclasses.replace(choice.RUNTIMES["broken"], lacking=lacking)
    assert "broken fp32: both are installed" in choose_engine(loaded).why


def test_a_library_that_cannot_be_imported_makes_room(loaded, runtimes, monkeypatch):
    runtimes(whole=0.0)

    def load(*_: object) -> None:
        raise ImportError("libfoo.so: cannot open shared object file")

    taken = dict(choice.RUNTIMES)
    taken["broken"] = dataclasses.replace(taken["whole"], name="broken", engine=load)
    monkeypatch.setattr(choice, "RUNTIMES", taken)
    chosen = choose_engine(loaded)
    assert chosen.engine.name == "whole"
    assert "broken fp32: numpy is installed and cannot be imported: libfoo.so" in chosen.why
