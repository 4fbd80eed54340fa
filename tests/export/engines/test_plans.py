import os
import threading
import time

import pytest

from lvseg.errors import EngineError, OptionError
from lvseg_export.engines.plans import PlanKey, Profile, cached, default_folder

KEY = PlanKey(onnx_sha256="ab" * 32, tensorrt="11.4.0.106", capability=(9, 0), profile=Profile(), tf32=False)


def load(plan: bytes) -> str | None:
    """What TensorRT does of a plan: of a foreign one it gives nothing."""
    return plan.decode() if plan.startswith(b"plan") else None


def built_once(*plans: bytes):
    left = list(plans)
    return lambda: left.pop(0)


def never() -> bytes:
    raise AssertionError("built")


def test_a_plan_is_named_after_all_that_it_depends_on():
    assert str(KEY) == f"{'ab' * 32}-trt11.4.0.106-sm90-b1-16-s256-512-no-tf32"


@pytest.mark.parametrize(
    "change",
    [
        {"onnx_sha256": "cd" * 32},
        {"tensorrt": "10.16.1.11"},
        {"capability": (8, 9)},
        {"profile": Profile(batch_opt=8)},
        {"profile": Profile(batch_max=8)},
        {"profile": Profile(side_opt=128)},
        {"profile": Profile(side_max=1024)},
        {"tf32": True},
    ],
)
def test_another_of_them_is_another_plan(tmp_path, change):
    cached(tmp_path, KEY, load=load, build=built_once(b"plan one"))
    assert cached(tmp_path, KEY._replace(**change), load=load, build=built_once(b"plan two")) == "plan two"
    assert cached(tmp_path, KEY, load=load, build=never) == "plan one"


def test_a_plan_is_built_once(tmp_path):
    folder = tmp_path / "new" / "folder"
    assert cached(folder, KEY, load=load, build=built_once(b"plan")) == "plan"
    assert cached(folder, KEY, load=load, build=never) == "plan"
    assert folder.stat().st_mode & 0o777 == 0o700  # a plan is code for the GPU


def test_a_foreign_plan_is_left_alone_and_told_of(tmp_path, capsys):
    foreign = tmp_path / f"{KEY}.plan"
    foreign.write_bytes(b"of another machine")
    for build in (built_once(b"plan"), never):
        assert cached(tmp_path, KEY, load=load, build=build) == "plan"
        said = capsys.readouterr().err
        assert f"{foreign} is no plan that this machine can load: it is left as it is" in said
    assert foreign.read_bytes() == b"of another machine"
    assert (tmp_path / f"{KEY}-2.plan").read_bytes() == b"plan"


def test_a_build_that_fails_leaves_nothing(tmp_path):
    def fail() -> bytes:
        raise EngineError("TensorRT cannot build a plan")

    with pytest.raises(EngineError, match="cannot build a plan"):
        cached(tmp_path, KEY, load=load, build=fail)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_plan_that_cannot_be_loaded_once_built_is_an_error(tmp_path):
    with pytest.raises(EngineError, match="cannot load the plan that it just built"):
        cached(tmp_path, KEY, load=load, build=built_once(b"nonsense"))


def test_a_folder_that_cannot_be_written_names_the_option(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match=r"file: plans cannot be kept there .*--engine-cache"):
        cached(tmp_path / "file", KEY, load=load, build=never)


def test_of_two_at_once_one_builds_and_the_other_waits(tmp_path):
    builds = []

    def build() -> bytes:
        builds.append(time.sleep(0.2))
        return b"plan"

    threads = [
        threading.Thread(target=cached, args=(tmp_path, KEY), kwargs={"load": load, "build": build})
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(builds) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_opt": 0}, "--batch-opt 0 and --batch-max 16: expected 1 or more"),
        ({"batch_opt": 8, "batch_max": 4}, "--batch-opt 8 and --batch-max 4: .* not above the second"),
        ({"side_opt": 16}, "--side-opt 16 and --side-max 512: expected 32 or more"),
        ({"side_opt": 1024}, "--side-opt 1024 and --side-max 512: .* not above the second"),
        ({"side_max": 8192}, "--side-max 8192: expected at most 4096"),
    ],
)
def test_shapes_that_no_plan_takes_name_the_option(options, message):
    with pytest.raises(OptionError, match=message):
        Profile(**options)


@pytest.mark.parametrize("sides", [(31, 100), (100, 513)])
def test_a_slice_that_the_plan_does_not_take_names_the_option(sides):
    with pytest.raises(EngineError, match=r"slices of 32 to 512 rows and columns, got .*; raise --side-max"):
        Profile().check((1, 1, *sides))


def test_a_profile_goes_from_one_slice_to_the_largest_batch():
    profile = Profile(batch_opt=4, batch_max=8, side_opt=200, side_max=300)
    assert profile.smallest == (1, 1, 32, 32)
    assert profile.fastest == (4, 1, 200, 200)
    assert profile.largest == (8, 1, 300, 300)
    profile.check((100, 1, 32, 300))


@pytest.mark.parametrize(("named", "expected"), [("/c", "/c"), ("relative", "/h/.cache"), ("", "/h/.cache")])
def test_plans_are_kept_in_the_users_cache(monkeypatch, named, expected):
    monkeypatch.setenv("XDG_CACHE_HOME", named)
    monkeypatch.setenv("HOME", "/h")
    assert os.fspath(default_folder()) == f"{expected}/lvseg/engines"
