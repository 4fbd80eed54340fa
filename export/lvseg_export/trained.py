"""The trained model in PyTorch, beside the engines of its bundle. Importing this imports torch."""

from collections.abc import Sequence
from pathlib import Path

import torch

from lvseg.errors import OptionError
from lvseg.train.run import load_run
from lvseg_export import cpu
from lvseg_export.bundle import Bundle
from lvseg_export.engines.torch import Device, TorchCudaEngine, TorchEngine
from lvseg_export.onnx import weights_version


def require_same_weights(run: Path, bundle: Bundle) -> None:
    """Check that a bundle was exported from a run as it is today.

    Raises:
        RunError: If the folder is no run, or a broken one.
        OptionError: If the bundle holds other weights.
    """
    found, expected = weights_version(load_run(run).model), bundle.manifest.model.version
    if found != expected:
        raise OptionError(
            f"--run {run} holds the weights {found} and the bundle {expected}: name the run that the bundle was "
            "exported from, or export it again",
            reason="OTHER_MODEL",
            field="--run",
            expected=expected,
        )


def torch_devices() -> Sequence[Device]:
    """Return where PyTorch can run a model here."""
    return ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


def load_torch(run: Path, *, threads: int | None, compiled: bool, device: Device) -> TorchEngine:
    """Load a run's best model in PyTorch.

    Args:
        run: The run folder.
        threads: Threads for one run, of the whole process; by default the CPUs that it may use.
        compiled: Whether PyTorch shall compile it, which the first run of each shape waits for.
        device: One of :func:`torch_devices`.

    Raises:
        RunError: If the folder is no run, or a broken one.
        EngineError: If PyTorch finds no GPU and is asked for one.
    """
    torch.set_num_threads(threads or cpu.usable())
    engine = TorchCudaEngine if device == "cuda" else TorchEngine
    return engine(load_run(run).model, compiled=compiled)
