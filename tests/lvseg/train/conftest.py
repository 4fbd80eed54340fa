"""Trainings in processes of their own that can be killed, without waiting for torch to be imported each time."""

import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

_PROGRAM = """
import os, signal, sys
os.setpgid(0, 0)
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.dup2(log, 1), os.dup2(log, 2)
os.environ.update({environment!r})
from lvseg.train.cli import main
main({arguments!r})
"""


@dataclass(frozen=True)
class Command:
    """A running ``lvseg-train``."""

    process: BaseProcess
    log: Path

    def wait(self) -> "Command":
        """Return when it has ended."""
        self.process.join()
        return self

    @property
    def exit_code(self) -> int | None:
        return self.process.exitcode

    @property
    def output(self) -> str:
        return self.log.read_text()

    @property
    def last_line(self) -> str:
        return self.output.splitlines()[-1]

    def kill_when(self, condition: Callable[[], bool]) -> None:
        """Kill it, and all that it started, as soon as a condition holds."""
        deadline = time.monotonic() + 180
        while self.process.is_alive() and time.monotonic() < deadline:
            if condition():
                os.killpg(self.process.pid or 0, signal.SIGKILL)
                self.process.join()
                return
            time.sleep(0.0005)
        self.process.kill()
        raise AssertionError(f"it did not come to that: {self.output}")


class LvsegTrain:
    """Starts ``lvseg-train`` in processes that are forked from one which has imported it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["lvseg.train.cli"])
        self._started = 0

    def start(self, *arguments: object, **environment: str) -> Command:
        """Start the command."""
        self._started += 1
        log = self._folder / f"{self._started}.txt"
        program = _PROGRAM.format(
            log=str(log), environment=environment, arguments=[str(argument) for argument in arguments]
        )
        process = self._context.Process(target=exec, args=(program,))
        process.start()
        return Command(process, log)

    def run(self, *arguments: object, **environment: str) -> Command:
        """Run the command to its end."""
        return self.start(*arguments, **environment).wait()


@pytest.fixture(scope="session")
def lvseg_train(tmp_path_factory: pytest.TempPathFactory) -> LvsegTrain:
    """The command, quick to start."""
    return LvsegTrain(tmp_path_factory.mktemp("output"))


@pytest.fixture(scope="session")
def few_slices(phantom: Path, once: Callable[..., Path]) -> Path:
    """Seven slices of one phantom patient and three of another; read-only."""

    def make(folder: Path) -> None:
        shutil.copytree(phantom, folder)
        for patient, count in (("SC-PH-01", 7), ("SC-PH-02", 3)):
            contours = sorted((folder / "contours").glob(f"*/{patient}/**/*icontour*.txt"))
            for contour in contours[count:]:
                contour.unlink()

    return once("data/few", make)


@pytest.fixture(scope="session")
def few_options(few_slices: Path) -> Sequence[str]:
    """Options of a training of a second, but for ``--out``; with all that is random."""
    where = ["--images", str(few_slices), "--contours", str(few_slices), "--validate", "SC-PH-02"]
    how = (
        "--epochs 6 --validation-interval 2 --window 64 --threads 1"
        " --width 0.125 --fc-channels 16 --dropout 0.3 --working-spacing median"
    )
    return [*where, *how.split()]
