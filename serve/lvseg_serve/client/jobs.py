"""Send slices one after the other and write what comes back; one that fails does not stop the rest."""

import dataclasses
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lvseg.contour import read_contour
from lvseg.dicom import read_slice
from lvseg.errors import DicomError, LvsegError, ServerError
from lvseg_serve.answers import Segmentation
from lvseg_serve.client.results import Row, answered, write_mask_and_contour, write_overlay


class Segmenting(Protocol):
    """What segments slices: a client of a server, or of an engine in this process."""

    def segment(
        self,
        dicom: bytes,
        *,
        contour: NDArray[np.float64] | None,
        frame: int | None,
        pixel_spacing: tuple[float, float] | None,
    ) -> Segmentation:
        """Segment one slice, as :meth:`lvseg_serve.client.Client.segment` does."""
        ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """One slice to send."""

    path: Path
    name: str
    """Of its results, below the folder that they are written to."""
    contour: Path | None = None
    frame: int | None = None
    pixel_spacing: tuple[float, float] | None = None

    @property
    def file(self) -> str:
        """The file's own name, in the folders of the results' name."""
        return (Path(self.name).parent / self.path.name).as_posix()


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    row: Row
    error: LvsegError | None = None
    """Why it failed."""
    offset_mm: tuple[float, float] | None = None
    """Of its contour, (x, y), as :class:`lvseg.plausibility.Plausibility` has it."""
    series: str = ""
    """UID of the slice's series, where the slice can be read here and says it. Never printed."""


def run_jobs(client: Segmenting, jobs: Iterable[Job], folder: Path) -> Iterator[Outcome]:
    """Segment each slice and write its mask, outline and overlay below ``folder``.

    Once the server is gone the rest is not sent: each would wait for its own time-out.
    """
    gone: ServerError | None = None
    for job in jobs:
        try:
            if gone is not None:
                raise ServerError("not sent, as the server was gone", code=gone.code)
            yield _run(client, job, folder)
        except LvsegError as error:
            if isinstance(error, ServerError) and error.code == "UNAVAILABLE":
                gone = error
            yield Outcome(Row(file=job.file, frame=job.frame, status="failed", error=str(error)), error)


def _run(client: Segmenting, job: Job, folder: Path) -> Outcome:
    dicom = _read(job.path)
    contour = None if job.contour is None else read_contour(job.contour)
    started = perf_counter()
    answer = client.segment(dicom, contour=contour, frame=job.frame, pixel_spacing=job.pixel_spacing)
    row = answered(job.file, answer, ms=(perf_counter() - started) * 1e3)
    write_mask_and_contour(folder, job.name, answer)
    try:
        slice_ = read_slice(dicom, frame=job.frame, pixel_spacing=job.pixel_spacing)
    except DicomError as error:
        # The server may have a decoder that is not installed here; its answer holds all the same.
        return Outcome(dataclasses.replace(row, error=f"no overlay: {error}"))
    write_overlay(folder, job.name, slice_, answer, contour)
    offset_mm = answer.plausibility.offset_mm if answer.plausibility else None
    return Outcome(row, offset_mm=offset_mm, series=slice_.series_instance_uid)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DicomError(f"cannot be read ({error.strerror})", reason="UNREADABLE_FILE") from error
