"""Everything that decides what a training does, as the run folder records it."""

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from lvseg.data.augmentation import Augmentation
from lvseg.errors import OptionError, RunError
from lvseg.models.options import NetworkOptions

OPTIONS_FILE = "options.json"

_SMALL = NetworkOptions(padding="same", norm="batch", upsampling="learned", fc_channels=256, dropout=0.1)
FROM_SCRATCH: Mapping[str, NetworkOptions] = {
    "fcn-8s": dataclasses.replace(_SMALL, width=0.5),
    "fcn-alexnet": _SMALL,
}
"""What each network is like where nothing else is asked for: what random weights and few patients can train."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The exact options of a run: with the same data they give the same training."""

    images: str
    contours: str
    model: str = "fcn-8s"
    network: NetworkOptions = FROM_SCRATCH["fcn-8s"]
    validate: Sequence[str] = ()
    """Patients kept for validation; where empty, ``validation_percent`` applies."""
    validation_percent: float | None = None
    """The lab's split: a seeded random share of the contours, so patients stand on both sides."""
    strict: bool = False
    epochs: int = 50
    batch_size: int = 4
    learning_rate: float = 1e-3
    """Peak of the one-cycle schedule."""
    weight_decay: float = 1e-2
    validation_interval: int = 1
    """Epochs between two validations; it divides ``epochs``, so that the last one is validated."""
    working_spacing_mm: float | None = None
    """``None`` stands for the median of the training slices."""
    seed: int = 1
    precision: str = "32-true"
    workers: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.epochs % self.validation_interval:
            raise OptionError(
                f"--epochs {self.epochs} is no multiple of --validation-interval {self.validation_interval}, "
                "so the last epoch would not be validated; change one of them",
                reason="INVALID_OPTION",
                field="--validation-interval",
            )


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What ``options.json`` holds: the options, and what they came to on the data."""

    options: TrainOptions
    working_spacing_mm: float
    training: Sequence[str]
    """Names of the slices trained on."""
    validation: Sequence[str]
    """Names of the slices validated on."""
    versions: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write ``options.json``."""
        (folder / OPTIONS_FILE).write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "RunRecord":
        """Read ``options.json``.

        Raises:
            RunError: If the folder is not a run, or its options are of another version of lvseg.
        """
        path = folder / OPTIONS_FILE
        if not path.is_file():
            raise RunError(
                f"{folder} is not a run (it holds no {OPTIONS_FILE}); write one with lvseg-train",
                reason="NOT_A_RUN",
            )
        try:
            values = json.loads(path.read_bytes())
            options = values["options"]
            parts = {
                "augmentation": Augmentation(**options["augmentation"]),
                "network": NetworkOptions(**options["network"]),
            }
            record = cls(**{**values, "options": TrainOptions(**{**options, **parts})})
            if not isinstance(record.working_spacing_mm, float):
                raise TypeError(f"working_spacing_mm is {record.working_spacing_mm!r}, expected a number")
            return record
        except (ValueError, KeyError, TypeError, OptionError) as error:
            raise RunError(
                f"{path} is not the options of a run of this lvseg ({error}); train again",
                reason="MALFORMED_RUN",
            ) from error


def package_versions() -> dict[str, str]:
    """Return the versions that a training's numbers depend on."""
    packages = ("lvseg", "torch", "lightning", "monai", "numpy", "scikit-image", "pydicom")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
