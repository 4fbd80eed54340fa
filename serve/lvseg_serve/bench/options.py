"""What lvseg-bench can be told, and what of it goes together."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from lvseg.data.phantom import LIMITS
from lvseg.errors import OptionError
from lvseg_export.choice import AUTO, RUNTIMES
from lvseg_export.engine_options import engine_options
from lvseg_serve.address import parse_address
from lvseg_serve.bench.loops import poisson_times_s
from lvseg_serve.bench.outputs import check_output, require_module
from lvseg_serve.bench.server import Pressure
from lvseg_serve.bench.slice import DEFAULT_SIZE
from lvseg_serve.bench.sources import ALL
from lvseg_serve.client.security import Access
from lvseg_serve.client.security_options import client_security_options, to_access

DEFAULT_SECONDS = 10.0

_FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_NEW_FILE = click.Path(dir_okay=False, path_type=Path)
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, kw_only=True)
class BenchOptions:
    """The options, by the names that click gives them."""

    runtime: str
    precision: str
    threads: int | None
    run: Path | None
    torch_compile: bool
    image: Path | None
    size: int | None
    batches: tuple[int, ...]
    images: Path | None
    contours: Path | None
    memory: bool
    server: str | None
    tls_ca: Path | None
    tls_certificate: Path | None
    tls_key: Path | None
    token_file: Path | None
    rate: float | None
    concurrency: int | None
    seconds: float | None
    calls: int
    warmup: int
    json_path: Path | None
    plot: Path | None
    compare: Path | None
    overwrite: bool

    def __post_init__(self) -> None:
        """Refuse what cannot be done before anything is loaded.

        Raises:
            OptionError: The message names the option.
        """
        if self.server:
            parse_address(self.server, option="--server")
        _together("--images", self.images, "--contours", self.contours)
        _apart("--image", self.image, "--size", self.size)
        _apart("--rate", self.rate, "--concurrency", self.concurrency)
        _needs("--torch-compile", self.torch_compile, "--run", self.run)
        of_a_server = (
            ("--rate", self.rate),
            ("--concurrency", self.concurrency),
            ("--tls-ca", self.tls_ca),
            ("--token-file", self.token_file),
        )
        for option, value in of_a_server:
            _needs(option, value, "--server", self.server)
        _needs("--seconds", self.seconds, "--rate, or a --concurrency above 1", self.pressure)
        if self.rate and self.pressure and not poisson_times_s(self.rate, self.pressure.seconds):
            raise _conflict(
                "--seconds",
                f"a --rate of {self.rate:g} slices a second sends none in {self.pressure.seconds:g} s: "
                "give more --seconds",
            )
        for option, path in (("--json", self.json_path), ("--plot", self.plot)):
            if path is not None:
                check_output(path, option=option, overwrite=self.overwrite)
        if self.plot:
            require_module("matplotlib", extra="export", option="--plot")

    @property
    def access(self) -> Access:
        """What the server lets the benchmark in with.

        Raises:
            OptionError: If the options contradict each other, or the token file cannot be used.
        """
        return to_access(
            tls_ca=self.tls_ca,
            tls_certificate=self.tls_certificate,
            tls_key=self.tls_key,
            token_file=self.token_file,
        )

    @property
    def pressure(self) -> Pressure | None:
        """How the server is loaded; ``None`` for one caller in turn with the engines."""
        if self.rate is None and (self.concurrency or 1) == 1:
            return None
        seconds = DEFAULT_SECONDS if self.seconds is None else self.seconds
        return Pressure(rate=self.rate, callers=self.concurrency or 1, seconds=seconds)


def _batches(_context: click.Context, _parameter: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        batches = tuple(int(part) for part in text.split(","))
    except ValueError:
        batches = ()
    if not batches or min(batches) < 1:
        raise click.BadParameter(f"expected whole numbers above 0 with commas between, got {text!r}")
    return tuple(dict.fromkeys(batches))


def _together(one: str, its: object, other: str, others: object) -> None:
    if (its is None) != (others is None):
        raise _conflict(one, f"{one} and {other} go together")


def _apart(one: str, its: object, other: str, others: object) -> None:
    if its is not None and others is not None:
        raise _conflict(one, f"{one} and {other} exclude each other: give one of them")


def _needs(one: str, its: object, other: str, others: object) -> None:
    if its and not others:
        raise _conflict(one, f"{one} goes with {other}")


def _conflict(option: str, message: str) -> OptionError:
    return OptionError(message, reason="INVALID_OPTION", field=option)


_OPTIONS = (
    engine_options(engines=(ALL, AUTO, *RUNTIMES)),
    click.option(
        "--run",
        type=_FOLDER,
        help="Measure the model of this run in PyTorch too; the bundle has to be exported from it.",
    ),
    click.option("--torch-compile", is_flag=True, help="With --run: and compiled by PyTorch."),
    click.option(
        "--batch",
        "batches",
        default="1,4",
        show_default=True,
        callback=_batches,
        help="Batch sizes to measure each engine with, with commas between.",
    ),
    click.option(
        "--image",
        type=_FILE,
        help=f"DICOM slice to measure with.  [default: a phantom of {DEFAULT_SIZE} x {DEFAULT_SIZE}]",
    ),
    click.option(
        "--size",
        type=click.IntRange(*LIMITS["size"]),
        help="Rows, and columns, of the phantom's own matrix, before it is resampled for the network. Its pixels "
        "stay as large in mm, so that the network's grid grows with it.",
    ),
    click.option(
        "--images", type=_FOLDER, help="With --contours: tell the Dice on these slices in each engine's row."
    ),
    click.option("--contours", type=_FOLDER, help="Folder with the experts' contours of --images."),
    click.option(
        "--memory",
        is_flag=True,
        help="Tell the peak memory of each row, by loading its engine once more in a process of its own.",
    ),
    click.option(
        "--calls", type=click.IntRange(1), default=50, show_default=True, help="Counted calls of each row."
    ),
    click.option(
        "--warmup", type=click.IntRange(0), default=5, show_default=True, help="Calls before those."
    ),
    click.option(
        "--server",
        metavar="HOST:PORT",
        help="Measure this server too, in turn with the engines; it has to serve the same model.",
    ),
    client_security_options(),
    click.option(
        "--concurrency",
        type=click.IntRange(1),
        help="Callers of the server at a time, each of which waits for its answer. Above 1 the server is measured "
        "after the engines, for --seconds.  [default: 1]",
    ),
    click.option(
        "--rate",
        type=click.FloatRange(min=0, min_open=True),
        help="Send the server so many slices a second, at times that were drawn beforehand, for --seconds; latency "
        "counts from the time at which a slice was to be sent.",
    ),
    click.option(
        "--seconds",
        type=click.FloatRange(min=0, min_open=True),
        help=f"How long the server is loaded.  [default: {DEFAULT_SECONDS:g}]",
    ),
    click.option(
        "--json", "json_path", type=_NEW_FILE, help="Write all figures and each call's latency here too."
    ),
    click.option(
        "--plot", type=_NEW_FILE, metavar="FILE.png", help="Draw each call of each row into this picture."
    ),
    click.option(
        "--compare", type=_FILE, metavar="OLD.json", help="Tell each row's ratio to this file of --json."
    ),
    click.option("--overwrite", is_flag=True, help="Replace the files of --json and --plot."),
)


def bench_options(command: _Command) -> _Command:
    """Give a command the options of :class:`BenchOptions`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
