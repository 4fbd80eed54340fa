import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from lvseg.train.checkpoints import WholeCheckpoints
from lvseg.train.run import BEST, LAST, load_run
from lvseg.train.whole_files import remove_unfinished, same_content, whole_file


def test_a_file_is_written_in_one_piece(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")
    with whole_file(path) as stream:
        stream.write(b"after")
        stream.flush()
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_while_writing_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"before")
    with pytest.raises(TypeError), whole_file(path) as stream:
        stream.writelines([b"half", "no bytes"])
    assert path.read_bytes() == b"before"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_of_the_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No such file") as caught, whole_file(tmp_path / "nowhere/a.txt"):
        pass
    assert caught.value.filename == str(tmp_path / "nowhere/a.txt")


def test_what_a_killed_writer_left_is_removed_and_nothing_else(tmp_path):
    for name in (".last.ckpt.unfinished", ".best.ckpt.unfinished", "last.ckpt", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    remove_unfinished(tmp_path)
    assert {entry.name for entry in tmp_path.iterdir()} == {"last.ckpt", ".hidden"}


def test_a_second_name_keeps_the_content_when_the_first_is_written_anew(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"1")
    second.write_bytes(b"0")
    same_content(first, second)
    same_content(first, second)  # of a file that has both names already
    assert second.stat().st_ino == first.stat().st_ino
    with whole_file(first) as stream:
        stream.write(b"2")
    assert (first.read_bytes(), second.read_bytes()) == (b"2", b"1")
    assert len(list(tmp_path.iterdir())) == 2


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
