"""The command lvseg-segment."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import click
from click.core import ParameterSource

from lvseg.cli import Command, progress
from lvseg.contour import read_contour
from lvseg.data.files import find_dicom
from lvseg.errors import DatasetError, InputError, OptionError, ServerError
from lvseg.folders import check_free, new_folder
from lvseg_serve import defaults
from lvseg_serve.address import parse_address
from lvseg_serve.client.contours import match_contours
from lvseg_serve.client.doubts import doubts
from lvseg_serve.client.jobs import Job, Outcome, run_jobs, stream_jobs
from lvseg_serve.client.paths import absolute, result_names
from lvseg_serve.client.results import TABLE, write_table
from lvseg_serve.client.security import Access
from lvseg_serve.client.security_options import CLIENT_SECURITY, client_security_options, to_access
from lvseg_serve.client.synchronous import Client

_Run: TypeAlias = Callable[[Sequence[Job], Path], Iterator[Outcome]]
"""Segments each of some slices and writes its results below a folder."""
_OF_A_SERVER = ("server", "timeout_s", "connect_s", "max_message_mib", *CLIENT_SECURITY)


@click.command(cls=Command)
@click.argument("files_or_dirs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--server",
    metavar="HOST:PORT",
    help=f"The server, as lvseg-serve says when it is ready.  [default: {defaults.ADDRESS}]",
)
@client_security_options()
@click.option(
    "--local",
    is_flag=True,
    help="Segment in this process, without a server: by ONNX Runtime on the CPU, in float32, so that masks repeat.",
)
@click.option(
    "--bundle",
    type=click.Path(path_type=Path),
    help="With --local: the model to use.  [default: the one that comes with lvseg]",
)
@click.option(
    "--contours",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder with expert contours in a Sunnybrook layout, to compare with.",
)
@click.option(
    "--contour",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="One expert contour in Sunnybrook's format, for the one slice that is sent.",
)
@click.option("--frame", type=click.IntRange(min=1), help="Which frame of multi-frame files, from 1.")
@click.option(
    "--pixel-spacing",
    metavar="ROW COLUMN",
    nargs=2,
    type=click.FloatRange(min=0, min_open=True),
    help="mm between rows and between columns, such as 1.37 1.37, for files that do not say.",
)
@click.option(
    "--out", required=True, metavar="DIR", type=click.Path(path_type=Path), help="Folder for the results."
)
@click.option(
    "--timeout-s",
    type=click.FloatRange(min=0, min_open=True),
    default=defaults.TIMEOUT_S,
    show_default=True,
    help="Seconds to wait for each answer, and for a server that goes away in the midst and may come back.",
)
@click.option(
    "--connect-s",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default="0: an error at once",
    help="Seconds to wait for a server that is not there when the command begins.",
)
@click.option(
    "--max-message-mib",
    type=click.IntRange(min=1, max=2047),
    default=defaults.MAX_MESSAGE_MIB,
    show_default=True,
    help="Largest file to send, in MiB; the server has a limit of its own.",
)
@click.option("--overwrite", is_flag=True, help="Replace the results of a former run in --out.")
@click.pass_context
def main(
    context: click.Context,
    /,
    files_or_dirs: tuple[Path, ...],
    server: str | None,
    tls_ca: Path | None,
    tls_certificate: Path | None,
    tls_key: Path | None,
    token_file: Path | None,
    local: bool,
    bundle: Path | None,
    contours: Path | None,
    contour: Path | None,
    frame: int | None,
    pixel_spacing: tuple[float, float] | None,
    out: Path,
    timeout_s: float,
    connect_s: float,
    max_message_mib: int,
    overwrite: bool,
) -> None:
    """Segment DICOM slices on a server, or here: FILES_OR_DIRS are files, or folders to look through.

    Writes to --out, for each slice, its mask and an overlay as PNG and the mask's outline as a Sunnybrook
    contour, and for all of them the table segmentation.csv. A slice that fails has its error there; the
    others are done all the same.

    \b
    Examples:
      lvseg-segment images/SC-HF-I-5 --server 127.0.0.1:50051 --contours contours --out results
      lvseg-segment slice.dcm --local --out results
    """  # noqa: D301 - click's own mark for text that it shall not fold
    _check_where(context, server, local=local, bundle=bundle)
    access = to_access(tls_ca=tls_ca, tls_certificate=tls_certificate, tls_key=tls_key, token_file=token_file)
    check_free(out, signature=TABLE, overwrite=overwrite)
    files = _slices(files_or_dirs)
    contour_of = _contours(files_or_dirs, files, contours, contour)
    jobs = [
        Job(
            path=file,
            name=name,
            contour=contour_of.get(absolute(file)),
            frame=frame,
            pixel_spacing=pixel_spacing,
        )
        for file, name in zip(files, result_names(files), strict=True)
    ]
    with (
        (
            _local_client(bundle)
            if local
            else _client(
                server or defaults.ADDRESS,
                access,
                timeout_s=timeout_s,
                connect_s=connect_s,
                max_message_mib=max_message_mib,
            )
        ) as run,
        new_folder(out, signature=TABLE, overwrite=overwrite) as folder,
    ):
        with progress() as display:
            outcomes = list(display.track(run(jobs, folder), total=len(jobs), description="segmenting"))
        write_table(folder, (outcome.row for outcome in outcomes))
        if (out / TABLE).is_file() and all(outcome.error for outcome in outcomes):
            _report(outcomes, out)  # raises: a former result is not replaced by nothing
    _report(outcomes, out)


def _check_where(context: click.Context, server: str | None, *, local: bool, bundle: Path | None) -> None:
    for name in _OF_A_SERVER if local else ():
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            option = f"--{name.replace('_', '-')}"
            raise OptionError(
                f"--local segments without a server; leave out {option} or --local",
                reason="CONTRADICTION",
                field=option,
            )
    if bundle is not None and not local:
        raise OptionError(
            "--bundle is for --local: a server has the model that it was started with; add --local",
            reason="CONTRADICTION",
            field="--bundle",
        )
    if server is not None:
        parse_address(server, option="--server")


@contextmanager
def _client(address: str, access: Access, **options: Any) -> Iterator[_Run]:
    with Client(address, tls=access.tls, token=access.token, **options) as client:
        client.server_info()  # without a server nothing is begun
        yield partial(stream_jobs, client)


@contextmanager
def _local_client(bundle: Path | None) -> Iterator[_Run]:
    # The client alone needs no engine, and must not wait for one to be imported.
    from lvseg_export.choice import load_engine
    from lvseg_export.shipped import named_bundle
    from lvseg_serve.local import LocalClient

    checked = named_bundle(bundle)
    with LocalClient(checked, load_engine(checked, "onnxruntime", "fp32")) as client:
        yield partial(run_jobs, client)


def _slices(paths: Sequence[Path]) -> list[Path]:
    for path in paths:
        if path.is_dir() and not find_dicom([path]):
            raise DatasetError(
                f"{path} holds no DICOM files; name files, or folders of them", reason="NO_DICOM"
            )
    return list({absolute(file): file for file in find_dicom(paths)}.values())


def _contours(
    paths: Sequence[Path], files: Sequence[Path], folder: Path | None, file: Path | None
) -> Mapping[Path, Path]:
    """Return the contour of each slice that has one, by the slice's absolute path."""
    if folder is not None and file is not None:
        raise OptionError(
            "--contours and --contour exclude each other; give one of them",
            reason="CONTRADICTION",
            field="--contour",
        )
    if file is not None:
        if len(files) != 1:
            raise OptionError(
                f"--contour is for one slice, {len(files)} were named; give one file, or --contours DIR",
                reason="NOT_ONE_SLICE",
                field="--contour",
                expected="one slice",
            )
        read_contour(file)  # a contour that cannot be read is a mistake in the options, not in the slice
        return {absolute(files[0]): file}
    if folder is None:
        return {}
    matched = match_contours(paths, files, folder)
    for problem in matched.problems:
        click.echo(f"not used: {problem.message}", err=True)
    return matched.contour_of


def _report(outcomes: Sequence[Outcome], out: Path) -> None:
    """Print the summary, or raise it as an error if a slice failed."""
    rows = [outcome.row for outcome in outcomes]
    faults = [(outcome.row.file, outcome.error) for outcome in outcomes if outcome.error is not None]
    bare = [row for row in rows if row.status == "ok" and row.error]
    dices = [row.dice for row in rows if row.dice is not None]
    if bare:
        click.echo(
            f"{len(bare)} slices have no overlay, the first: {bare[0].file}: {bare[0].error}", err=True
        )
    for doubt in doubts(outcomes):
        click.echo(doubt, err=True)
    summary = f"{len(rows) - len(faults)} of {len(rows)} slices segmented; results and {TABLE} in {out}"
    if dices:
        summary += f"; mean Dice {sum(dices) / len(dices):.4f} over the {len(dices)} with a contour"
    click.echo(summary)
    if faults:
        # Files that must be changed count for more than a server that may do better next time.
        file, error = next((fault for fault in faults if isinstance(fault[1], InputError)), faults[0])
        message = f"{len(faults)} of {len(rows)} slices failed; {file}: {error}"
        if isinstance(error, InputError):
            raise InputError(message, reason=error.reason, field=error.field, expected=error.expected)
        raise ServerError(message)
