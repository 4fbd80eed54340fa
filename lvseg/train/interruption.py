"""Ctrl-C that is never lost."""

import signal
import threading
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer


class InterruptIsKept(Callback):
    """End the training with the batch in which an interrupt was lost.

    Python drops an interrupt that arrives while an object is finalised, and so may libraries in their callbacks:
    the training would then go on as if nobody had asked it to end.
    """

    def __init__(self) -> None:
        self._interrupted = False
        self._former: Any = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Take note of interrupts from here on, but where they are ignored, as by jobs in the background."""
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            self._former = signal.signal(signal.SIGINT, self._note)

    def on_train_batch_end(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        outputs: Any,  # noqa: ARG002
        batch: Any,  # noqa: ARG002
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Interrupt the training where that has not happened.

        Raises:
            KeyboardInterrupt: If an interrupt was lost.
        """
        self._check()

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Interrupt what comes after the training where an interrupt was lost after its last batch.

        Raises:
            KeyboardInterrupt: If one was.
        """
        self._check()

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Give interrupts back to whom they went before."""
        # Lightning ignores them while it ends an interrupted training: then they stay ignored.
        if signal.getsignal(signal.SIGINT) == self._note:
            signal.signal(signal.SIGINT, self._former)

    def _check(self) -> None:
        if self._interrupted:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        if callable(self._former):
            self._former(number, frame)
