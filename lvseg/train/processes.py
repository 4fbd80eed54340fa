"""The processes of a training: how they come together, share each batch, and speak with one voice."""

import contextlib
import logging
import os
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from lightning import Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor, distributed

from lvseg.cli import console
from lvseg.errors import LvsegError, OperationError, OptionError
from lvseg.train.options import TrainOptions

T = TypeVar("T")

MOST_LOADING_PROCESSES = 8
"""Of one training process, where the options leave their number open."""


def check_machine(options: TrainOptions) -> None:
    """Check that this machine can do what the options ask of it.

    Raises:
        OptionError: If not; the message says what there is.
    """
    cuda = torch.cuda.is_available()
    processes = options.devices * options.nodes
    if options.precision == "16-mixed" and not cuda:
        raise OptionError(
            "--precision 16-mixed needs a CUDA GPU, and this machine has none that torch can use; "
            "choose bf16-mixed or 32-true",
            reason="NO_DEVICE",
            field="--precision",
            expected="bf16-mixed, 32-true",
        )
    if cuda and options.devices > torch.cuda.device_count():
        raise OptionError(
            f"--devices {options.devices}, but this machine has {torch.cuda.device_count()} GPU(s)",
            reason="NO_DEVICE",
            field="--devices",
        )
    if options.batch_size % processes:
        raise OptionError(
            f"--batch-size {options.batch_size} cannot be shared by {processes} processes (--devices "
            f"{options.devices} times --nodes {options.nodes}); make it a multiple of {processes}",
            reason="INVALID_OPTION",
            field="--batch-size",
            expected=f"a multiple of {processes}",
        )
    started = int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else processes
    if started != processes:
        raise OptionError(
            f"torchrun started {started} processes, but --devices {options.devices} times --nodes "
            f"{options.nodes} are {processes}; let them agree",
            reason="INVALID_OPTION",
            field="--devices",
        )
    compiler = os.environ.get("CXX") or "g++"
    if options.compile and shutil.which(compiler) is None:
        raise OptionError(
            f"--compile needs a C++ compiler, and {compiler} is not found; install it, name one in CXX, or "
            "leave out --compile",
            reason="NO_COMPILER",
            field="--compile",
        )


def join_processes(options: TrainOptions, *, threads: int | None) -> None:
    """Start the processes that the options ask for, unless torchrun or SLURM has, and connect them.

    Those that are started run the same command from its beginning. From here on all of them do the same;
    what concerns the run folder is the first one's, by :func:`only_first`.

    Args:
        options: Of the training.
        threads: CPU threads of each process; ``None``: PyTorch's choice, or a share of the cores.

    Raises:
        OptionError: As :func:`check_machine` does.
    """
    check_machine(options)
    if options.devices * options.nodes > 1:
        with quiet_lightning():
            strategy = new_trainer(options).strategy
            if strategy.launcher is not None:
                strategy.launcher.launch(strategy.setup_environment)
    if threads:
        torch.set_num_threads(threads)


def loading_processes(options: TrainOptions) -> int:
    """Return how many processes prepare the windows of this training process.

    Where the options leave it open: none on a CPU, whose cores the network itself needs; with GPUs, which must
    not wait for windows, all cores but one, shared by the machine's training processes, up to 8 each.
    """
    if options.workers is not None:
        return options.workers
    if not torch.cuda.is_available():
        return 0
    return min((_cores() - 1) // options.devices, MOST_LOADING_PROCESSES)


def _cores() -> int:
    """Return the cores that this process may use, where the system tells, else those there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def new_trainer(options: TrainOptions, **more: object) -> Trainer:
    """Return a trainer for the options' devices."""
    several = options.devices * options.nodes > 1
    return Trainer(
        accelerator="auto",
        devices=options.devices,
        num_nodes=options.nodes,
        strategy="ddp" if several else "auto",
        # The sampler shares the batches, and validation its slices.
        use_distributed_sampler=False,
        # A part of a batch alone would be normalised by other figures than the whole.
        sync_batchnorm=several and torch.cuda.is_available(),
        **more,  # type: ignore[arg-type]
    )


def rank() -> int:
    """Return this process's number, from 0, over all machines."""
    return distributed.get_rank() if distributed.is_initialized() else int(getattr(rank_zero_only, "rank", 0))


def only_first(work: Callable[[], T]) -> T:
    """Do something in the first process alone; what comes of it, an error too, is everyone's.

    Raises:
        LvsegError: That of the first process.
    """
    if not distributed.is_initialized():
        return work()
    failure: LvsegError | None = None
    told: list[tuple[T | None, str, int]] = [(None, "", 0)]
    if rank() == 0:
        try:
            told = [(work(), "", 0)]
        except LvsegError as error:
            failure, told = error, [(None, str(error), error.exit_code)]
    distributed.broadcast_object_list(told)
    result, message, exit_code = told[0]
    if exit_code:
        failure = failure or LvsegError(message)
        failure.exit_code = exit_code
        raise failure
    return result  # type: ignore[return-value]


def whole_batch(part: Tensor, length: int) -> Tensor:
    """Return the batch of which each process holds a part, so that a loss is that of the whole batch.

    Gradients go back into this process's part, multiplied by the number of processes: their average, which
    is taken afterwards, is then the gradient of the whole.

    Args:
        part: Of shape (N / processes, ...), the same in all processes.
        length: Samples that count; those beyond it are left out.
    """
    if not distributed.is_initialized():
        return part
    processes = distributed.get_world_size()
    own = part.contiguous()
    parts = [torch.empty_like(own) for _ in range(processes)]
    distributed.all_gather(parts, own.detach())
    parts[rank()] = own
    if own.requires_grad:
        own.register_hook(lambda gradient: gradient * processes)  # type: ignore[no-untyped-call]
    return torch.cat(parts)[:length]


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning's advertisements and hints from a user who cannot act on them."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have many workers.*")
            warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
            warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*before.*optimizer.step.*")
            warnings.filterwarnings("ignore", message=".*is not empty.*", category=UserWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@contextmanager
def one_voice() -> Iterator[None]:
    """Let the first process alone say what all of them find: its progress, its results and its errors.

    Raises:
        OperationError: If another process has died.
    """
    with _left_in_order():
        if rank() == 0:
            with _deaths_of_others():
                yield
            return
        console.quiet = True
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # noqa: PTH123 - a device
            try:
                with _deaths_of_others():
                    yield
            except LvsegError as error:
                sys.exit(error.exit_code)


@contextmanager
def _left_in_order() -> Iterator[None]:
    """Leave the other processes before the interpreter ends.

    Otherwise a thread of gloo may still run then, and ends the process with SIGABRT in place of its exit code. For
    NCCL Lightning does it.
    """
    try:
        yield
    finally:
        if distributed.is_initialized() and distributed.get_backend() == "gloo":
            distributed.destroy_process_group()


@contextmanager
def _deaths_of_others() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        lost = "by peer" in str(error) or isinstance(error, distributed.DistBackendError)
        if not (distributed.is_initialized() and lost):
            raise
        raise OperationError(
            "another process of this training has died; if it has not said why, the system may have ended it for "
            "want of memory; go on with: lvseg-train --resume RUN"
        ) from error
