"""TensorRT's plans: what shapes they take, and where they are kept. Needs no TensorRT."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

from lvseg.cli import notice
from lvseg.errors import EngineError, OptionError
from lvseg.whole_files import whole_file
from lvseg_export.engines.base import LARGEST_SIDE, SMALLEST_SIDE

Shape: TypeAlias = tuple[int, int, int, int]
"""Of pixels: (N, 1, H, W)."""

_Loaded = TypeVar("_Loaded")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The shapes that a plan is built for: from one slice of 32 x 32, fastest at one shape, up to the largest.

    Raises:
        OptionError: If one is out of range, or the fastest lies above the largest.
    """

    batch_opt: int = 1
    """Slices in a batch to be fastest at."""
    batch_max: int = 16
    """A larger batch is run in parts."""
    side_opt: int = 256
    """Rows and columns to be fastest at."""
    side_max: int = 512
    """A slice with more rows or columns is refused. Memory for ``batch_max`` of the largest is taken at the start."""

    def __post_init__(self) -> None:
        _check("batch", 1, self.batch_opt, self.batch_max)
        _check("side", SMALLEST_SIDE, self.side_opt, self.side_max)
        if self.side_max > LARGEST_SIDE:
            raise OptionError(
                f"--side-max {self.side_max}: expected at most {LARGEST_SIDE}",
                reason="INVALID_OPTION",
                field="--side-max",
            )

    @property
    def smallest(self) -> Shape:
        """What a plan has to take at least: the gate, and every client, sends slices one by one."""
        return (1, 1, SMALLEST_SIDE, SMALLEST_SIDE)

    @property
    def fastest(self) -> Shape:
        """What the plan's kernels are chosen for."""
        return (self.batch_opt, 1, self.side_opt, self.side_opt)

    @property
    def largest(self) -> Shape:
        """What memory is taken for."""
        return (self.batch_max, 1, self.side_max, self.side_max)

    def check(self, shape: tuple[int, ...]) -> None:
        """Check that slices of a shape (N, 1, H, W) can be run.

        Raises:
            EngineError: If they are too small or too large.
        """
        if not all(SMALLEST_SIDE <= side <= self.side_max for side in shape[2:]):
            raise EngineError(
                f"the plan takes slices of {SMALLEST_SIDE} to {self.side_max} rows and columns, got {shape[2]} x "
                f"{shape[3]}; raise --side-max for larger ones"
            )

    def __str__(self) -> str:
        return f"b{self.batch_opt}-{self.batch_max}-s{self.side_opt}-{self.side_max}"


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What TensorRT's plans are built for, and where they are kept."""

    profile: Profile = field(default_factory=Profile)
    folder: Path | None = None
    """By default :func:`default_folder`."""


class PlanKey(NamedTuple):
    """What plans are told apart by. GPUs of one compute capability can still differ: each wants a folder of its own."""

    onnx_sha256: str
    tensorrt: str
    """Version."""
    capability: tuple[int, int]
    """Of the GPU."""
    profile: Profile
    tf32: bool

    @property
    def platform(self) -> str:
        """What a timing cache depends on."""
        return f"trt{self.tensorrt}-sm{self.capability[0]}{self.capability[1]}"

    def __str__(self) -> str:
        tf32 = "tf32" if self.tf32 else "no-tf32"
        return f"{self.onnx_sha256}-{self.platform}-{self.profile}-{tf32}"


def default_folder() -> Path:
    """Return where plans are kept unless another folder is named: in the user's own cache."""
    named = Path(
        os.environ.get("XDG_CACHE_HOME", "")
    )  # a relative one is to be ignored, says its specification
    return (named if named.is_absolute() else Path.home() / ".cache") / "lvseg" / "engines"


def cached(
    folder: Path, key: PlanKey, *, load: Callable[[bytes], _Loaded | None], build: Callable[[], bytes]
) -> _Loaded:
    """Return what a kept plan is loaded as, or build one and keep it.

    A file of the plan's name that cannot be loaded is not ours to change: it stays, is told of, and the plan
    is kept under the next name. Of several processes one builds and the others wait for it.

    Args:
        folder: Where plans are kept; made where there is none.
        key: What the plan depends on.
        load: Gives ``None`` for what is no plan, or a plan of another machine.
        build: Gives a plan; may take minutes.

    Raises:
        EngineError: If the folder cannot be used, or what was built cannot be loaded.
    """
    try:
        with _locked(folder):
            for path in _paths(folder, key):
                if not path.exists():
                    break
                loaded = load(path.read_bytes())
                if loaded is not None:
                    return loaded
                notice(f"{path} is no plan that this machine can load: it is left as it is, another is built")
            plan = build()
            with whole_file(path) as stream:
                stream.write(plan)
    except OSError as error:
        raise EngineError(
            f"{error.filename or folder}: plans cannot be kept there ({error.strerror}); name another folder with "
            "--engine-cache"
        ) from error
    loaded = load(plan)
    if loaded is None:
        raise EngineError(f"{path}: TensorRT {key.tensorrt} cannot load the plan that it just built")
    return loaded


def _check(what: str, least: int, best: int, most: int) -> None:
    if not least <= best <= most:
        raise OptionError(
            f"--{what}-opt {best} and --{what}-max {most}: expected {least} or more, and the first not above "
            "the second",
            reason="INVALID_OPTION",
            field=f"--{what}-opt",
        )


def _paths(folder: Path, key: PlanKey) -> Iterator[Path]:
    yield folder / f"{key}.plan"
    for number in count(2):
        yield folder / f"{key}-{number}.plan"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    # A plan is code for the GPU: no other user may put one here.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
