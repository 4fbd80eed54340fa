import io
import os
import signal
from contextlib import contextmanager, suppress

import pytest
import torch
from lightning import LightningModule, Trainer

from lvseg.train import checkpoints
from lvseg.train.checkpoints import WholeCheckpoints
from lvseg.train.interruption import InterruptIsKept


@pytest.fixture
def kept():
    former = signal.getsignal(signal.SIGINT)
    callback = InterruptIsKept()
    callback.on_fit_start(Trainer.__new__(Trainer), LightningModule())
    yield callback
    signal.signal(signal.SIGINT, former)


def end_a_batch(callback: InterruptIsKept) -> None:
    callback.on_train_batch_end(Trainer.__new__(Trainer), LightningModule(), None, None, 0)


def test_an_interrupt_that_was_lost_ends_the_batch(kept):
    end_a_batch(kept)
    with suppress(KeyboardInterrupt):  # as the interpreter does around finalisers
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        end_a_batch(kept)


def test_one_that_was_lost_after_the_last_batch_ends_what_comes_after_the_training(kept):
    with suppress(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        kept.on_train_end(Trainer.__new__(Trainer), LightningModule())


def test_a_job_in_the_background_still_ignores_interrupts(kept):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    other = InterruptIsKept()
    other.on_fit_start(Trainer.__new__(Trainer), LightningModule())
    os.kill(os.getpid(), signal.SIGINT)
    end_a_batch(other)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_an_interrupt_still_comes_at_once(kept):
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_after_the_training_interrupts_go_where_they_went_before(kept):
    kept.teardown(Trainer.__new__(Trainer), LightningModule(), "fit")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_interrupts_that_lightning_ignores_while_it_ends_stay_ignored(kept):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    kept.teardown(Trainer.__new__(Trainer), LightningModule(), "fit")
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


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
