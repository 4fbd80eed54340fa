import io
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from lvseg.errors import RunError
from lvseg.models import NetworkOptions, build_model
from lvseg.train import checkpoints
from lvseg.train.checkpoints import WholeCheckpoints, check_last
from lvseg.train.run import BEST, LAST, load_run


def weights_of(run: Path) -> dict[str, torch.Tensor]:
    """Return the weights of a run's training, under their names in a checkpoint."""
    return {f"model.{name}": value for name, value in load_run(run).model.state_dict().items()}


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5000])


def of_another_width(path: Path) -> None:
    content = torch.load(path, weights_only=True)
    other = build_model("fcn-8s", NetworkOptions(width=0.25, fc_channels=16, norm="batch"))
    content["state_dict"] = {f"model.{name}": value for name, value in other.state_dict().items()}
    torch.save(content, path)


def weights_alone(path: Path) -> None:
    torch.save({"state_dict": torch.load(path, weights_only=True)["state_dict"]}, path)


BREAKS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "a text": lambda path: path.write_bytes(b"not a checkpoint"),
    "cut off": cut_off,
    "another network's": of_another_width,
    "weights alone": weights_alone,
}


@pytest.mark.parametrize("spoil", BREAKS.values(), ids=BREAKS)
def test_a_last_checkpoint_that_cannot_be_gone_on_from_is_refused_with_what_can(trained_run, tmp_path, spoil):
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    weights = weights_of(run)
    check_last(run, weights)
    spoil(run / LAST)
    with pytest.raises(RunError) as caught:
        check_last(run, weights)
    assert str(caught.value) == (
        f"{run / LAST} is broken, or no checkpoint of this training; train anew with: lvseg-train --like {run} "
        f"--out OTHER --pretrained {run / BEST}, which starts from the weights saved there"
    )


def test_of_broken_checkpoints_the_newest_snapshot_that_reads_is_named(trained_run, tmp_path):
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    weights = weights_of(run)
    for name in ("epoch-0010.ckpt", "epoch-0020.ckpt", "epoch-0030.ckpt"):
        shutil.copy(run / LAST, (run / LAST).with_name(name))
    for name in (LAST.name, BEST.name, "epoch-0030.ckpt"):
        cut_off((run / LAST).with_name(name))
    with pytest.raises(RunError, match=r"--pretrained \S+/epoch-0020\.ckpt,"):
        check_last(run, weights)


def test_where_no_checkpoint_reads_only_a_new_training_is_left(trained_run, tmp_path):
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    weights = weights_of(run)
    for checkpoint in (LAST, BEST):
        cut_off(run / checkpoint)
    with pytest.raises(RunError, match=r"lvseg-train --like \S+ --out OTHER$"):
        check_last(run, weights)


def test_going_on_from_a_broken_checkpoint_is_one_line(trained_run, lvseg_train, tmp_path):
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    cut_off(run / LAST)
    resumed = lvseg_train.run("--resume", run, "--threads", 1)
    assert resumed.exit_code == 2
    assert resumed.last_line.startswith(f"error: {run / LAST} is broken")
    assert "Traceback" not in resumed.output


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 11 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("only root can mount a small file system")
    mounted = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=11m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here ({mounted.stderr.strip()})")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_a_checkpoint_that_finds_no_room_leaves_the_one_before(small_disk):
    path = small_disk / "last.ckpt"
    WholeCheckpoints().save_checkpoint({"weights": torch.zeros(1_000_000)}, path)
    with pytest.raises(OSError, match="No space left on device") as caught:
        WholeCheckpoints().save_checkpoint({"weights": torch.ones(2_500_000)}, path)
    assert caught.value.filename == str(path)
    assert torch.load(path, weights_only=True)["weights"].sum() == 0
    assert [entry.name for entry in small_disk.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("at", [5, 25, 31])  # in the archive's header, in a weight, at the end
def test_an_interrupt_within_a_checkpoint_is_an_interrupt(tmp_path, monkeypatch, at):
    class Interrupted(io.BytesIO):
        writes = 0

        def write(self, content) -> int:
            self.writes += 1
            if self.writes == at:
                raise KeyboardInterrupt
            return super().write(content)

    @contextmanager
    def interrupted(_path):
        yield Interrupted()

    monkeypatch.setattr(checkpoints, "whole_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WholeCheckpoints().save_checkpoint({"weights": torch.zeros(100_000)}, tmp_path / "last.ckpt")


def test_a_training_on_a_full_disk_says_so_and_goes_on_when_there_is_room(
    small_disk, lvseg_train, few_options
):
    run = small_disk / "run"
    # A checkpoint has 4.6 MB, and each epoch's is kept: the third finds no room.
    options = ["--epochs", 4, "--validation-interval", 1, "--snapshot-interval", 1]
    training = lvseg_train.run(*few_options, *options, "--out", run)
    assert training.exit_code == 1
    assert training.last_line.startswith(
        f"error: {run / LAST} could not be written (No space left on device; "
    )
    assert training.last_line.endswith(f"go on with: lvseg-train --resume {run}")
    assert load_run(run, "last").epoch == 2
    assert sorted(path.name for path in (run / LAST).parent.iterdir()) == [
        BEST.name,
        "epoch-0001.ckpt",
        "epoch-0002.ckpt",
        LAST.name,
    ]
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    resumed = lvseg_train.run("--resume", run, "--threads", 1)
    assert resumed.exit_code == 0, resumed.output
    assert load_run(run, "last").epoch == 4
