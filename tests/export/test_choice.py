import dataclasses
import time
from pathlib import Path

import numpy as np
import pytest

from lvseg.errors import EngineError, OptionError
from lvseg_export import choice
from lvseg_export.bundle import REFERENCE, load_bundle
from lvseg_export.choice import RUNTIMES, Runtime, choose_engine, find_candidates, load_engine
from lvseg_export.engines.base import Prediction


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
            def load(_path: Path, precision: str, _threads: int | None):
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
    with pytest.raises(OptionError, match="no engine 'caffe'; known: auto, onnxruntime, openvino"):
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
