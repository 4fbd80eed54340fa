"""Everything that decides what a training does, as the run folder records it."""

import dataclasses
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from lvseg.data.augmentation import NO_AUGMENTATION, Augmentation
from lvseg.errors import OptionError, RunError
from lvseg.models.options import NetworkOptions
from lvseg.train.recipes import Recipe
from lvseg.whole_files import whole_file

OPTIONS_FILE = "options.json"


@dataclass(frozen=True, kw_only=True)
class TrainOptions(Recipe):
    """The exact options of a run: with the same data they give the same training.

    Raises:
        OptionError: If two options contradict each other; the message names them.
    """

    images: str
    contours: str
    label_format: str = "contours"
    """How the labels are stored, a key of :data:`lvseg.data.sources.LABEL_FORMATS`."""
    label: int | None = None
    """The value, or the segment, that is the left ventricle where labels name several structures."""
    validate: Sequence[str] = ()
    """Patients kept for validation; where empty, ``validation_percent`` applies."""
    leave_none_out: bool = False
    """Train on every slice, and judge the last epoch alone, on the same slices."""
    strict: bool = False
    pretrained: str | None = None
    """File or run that the weights start from."""
    validation_interval: int = 1
    """Epochs between two validations; it divides ``epochs``, so that the last one is validated."""
    snapshot_interval: int | None = None
    """Epochs between two checkpoints that are kept for good."""
    early_stopping: int | None = None
    """Validations without a better Dice after which the training ends."""
    seed: int = 1
    precision: str = "32-true"
    devices: int = 1
    """Processes on each machine, each with its own share of every batch."""
    nodes: int = 1
    """Machines."""
    compile: bool = False
    workers: int | None = None
    """``None``: none on a CPU, with a GPU all cores but one, up to 8."""

    @classmethod
    def following(cls, recipe: Recipe, **more: Any) -> Self:
        """Return a recipe's options with the data, and with changes where others are given."""
        known = {field.name: getattr(recipe, field.name) for field in dataclasses.fields(recipe)}
        return cls(**{**known, **more})

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Return the options that JSON held.

        Raises:
            KeyError, TypeError, ValueError, OptionError: If they are not those of this version of lvseg.
        """
        # A variation that a run's lvseg did not know yet was not there when it was trained.
        varied = {**dataclasses.asdict(NO_AUGMENTATION), **values["augmentation"]}
        parts = {
            "augmentation": Augmentation(**varied),
            "network": NetworkOptions(**values["network"]),
            "validate": tuple(values["validate"]),
        }
        return cls(**{**values, **parts})

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs % self.validation_interval:
            raise OptionError(
                f"--epochs {self.epochs} is no multiple of --validation-interval {self.validation_interval}, "
                "so the last epoch would not be validated; change one of them",
                reason="INVALID_OPTION",
                field="--validation-interval",
            )
        if self.leave_none_out:
            self._check_leaves_none_out()
        if self.transfer and self.pretrained is None:
            raise OptionError(
                f"the recipe {self.recipe} goes on from pretrained weights; give a file with --pretrained, "
                "or choose another recipe",
                reason="NO_WEIGHTS",
                field="--pretrained",
            )
        if self.pretrained is not None and self.initialisation == "zero":
            raise OptionError(
                f"--pretrained is of no use to weights that start at zero, as those of {self.recipe} do; add "
                "--initialisation he, or leave out --pretrained",
                reason="INVALID_OPTION",
                field="--initialisation",
            )

    def _check_leaves_none_out(self) -> None:
        contradictions = {
            "--validate": bool(self.validate),
            "--validation-percent": self.validation_percent is not None,
            "--early-stopping": self.early_stopping is not None,
            "--validation-interval": self.validation_interval != self.epochs,
        }
        for option, given in contradictions.items():
            if given:
                raise OptionError(
                    "--leave-none-out keeps no slice for validation and takes the last epoch's weights; leave out "
                    f"{option}",
                    reason="INVALID_OPTION",
                    field=option,
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
        """Write ``options.json``, whole or not at all."""
        with whole_file(folder / OPTIONS_FILE) as stream:
            stream.write((json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode())

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
            record = cls(**{**values, "options": TrainOptions.parse(values["options"])})
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
    packages = ("lvseg", "torch", "lightning", "monai", "numpy", "scipy", "pydicom")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}
