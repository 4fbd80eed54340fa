"""Slices to segment and what became of each: read, answered here or by a server, and written to a folder."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from lvseg.contour import Points, read_contour
from lvseg.dicom import read_slice
from lvseg.errors import DicomError, LvsegError, ServerError
from lvseg_serve.answers import Segmentation
from lvseg_serve.client.conversation import SeriesSlice
from lvseg_serve.client.results import Row, answered, write_mask_and_contour, write_overlay
from lvseg_serve.client.synchronous import Client


class Segmenting(Protocol):
    """What segments one slice at a time: an engine in this process."""

    def segment(
        self,
        dicom: bytes,
        *,
        contour: Points | None,
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


class _Loaded(NamedTuple):
    """A job whose files are read."""

    job: Job
    dicom: bytes
    contour: Points | None


def run_jobs(client: Segmenting, jobs: Iterable[Job], folder: Path) -> Iterator[Outcome]:
    """Segment one slice after the other and write its mask, outline and overlay below ``folder``."""
    for job in jobs:
        try:
            loaded = _load(job)
            answer = client.segment(
                loaded.dicom, contour=loaded.contour, frame=job.frame, pixel_spacing=job.pixel_spacing
            )
            yield _write(loaded, answer, folder)
        except LvsegError as error:
            yield _failed(job, error)


def stream_jobs(client: Client, jobs: Sequence[Job], folder: Path) -> Iterator[Outcome]:
    """Send the slices over a stream and write their results as they come; the outcomes are in the jobs' order.

    The stream waits for a server that is started anew. When it stays away, those that it has not answered fail.
    """
    run = _StreamedRun(jobs, folder)
    told = 0
    try:
        for _ in run.stream(client):
            while told in run.outcomes:
                yield run.outcomes[told]
                told += 1
    except ServerError as error:
        run.lose(error)
    for number in range(told, len(jobs)):
        yield run.outcomes[number]


class _StreamedRun:
    """What of some jobs is under way and has become of."""

    def __init__(self, jobs: Sequence[Job], folder: Path) -> None:
        self._jobs = jobs
        self._folder = folder
        self._sent: dict[str, _Loaded] = {}
        """And not answered."""
        self.outcomes: dict[int, Outcome] = {}
        """By the job's number."""

    def stream(self, client: Client) -> Iterator[None]:
        """Send the slices; yields after each answer.

        Raises:
            ServerError: If the stream ends before its time.
        """
        with client.segment_stream(self._slices()) as answers:
            for id_, answer in answers:
                self.outcomes[int(id_)] = _outcome(self._sent.pop(id_), answer, self._folder)
                yield

    def lose(self, error: ServerError) -> None:
        """Let all that has no outcome fail."""
        never_sent = ServerError("not sent, as the server was gone", code=error.code)
        for number, job in enumerate(self._jobs):
            if number not in self.outcomes:
                self.outcomes[number] = _failed(job, error if str(number) in self._sent else never_sent)

    def _slices(self) -> Iterator[SeriesSlice]:
        """Yield what to send, in a thread of the stream."""
        for number, job in enumerate(self._jobs):
            try:
                loaded = _load(job)
            except LvsegError as error:
                self.outcomes[number] = _failed(job, error)
                continue
            self._sent[str(number)] = loaded
            yield SeriesSlice(
                id=str(number),
                dicom=loaded.dicom,
                contour=loaded.contour,
                frame=job.frame,
                pixel_spacing=job.pixel_spacing,
            )


def _outcome(loaded: _Loaded, answer: Segmentation | LvsegError, folder: Path) -> Outcome:
    if isinstance(answer, LvsegError):
        return _failed(loaded.job, answer)
    return _write(loaded, answer, folder)


def _failed(job: Job, error: LvsegError) -> Outcome:
    return Outcome(Row(file=job.file, frame=job.frame, status="failed", error=str(error)), error)


def _load(job: Job) -> _Loaded:
    try:
        dicom = job.path.read_bytes()
    except OSError as error:
        raise DicomError(f"cannot be read ({error.strerror})", reason="UNREADABLE_FILE") from error
    contour = None if job.contour is None else read_contour(job.contour)
    return _Loaded(job, dicom, contour)


def _write(loaded: _Loaded, answer: Segmentation, folder: Path) -> Outcome:
    job = loaded.job
    row = answered(job.file, answer)
    write_mask_and_contour(folder, job.name, answer)
    try:
        slice_ = read_slice(loaded.dicom, frame=job.frame, pixel_spacing=job.pixel_spacing)
    except DicomError as error:
        # The server may have a decoder that is not installed here; its answer holds all the same.
        return Outcome(dataclasses.replace(row, error=f"no overlay: {error}"))
    write_overlay(folder, job.name, slice_, answer, loaded.contour)
    offset_mm = answer.plausibility.offset_mm if answer.plausibility else None
    return Outcome(row, offset_mm=offset_mm, series=slice_.series_instance_uid)
