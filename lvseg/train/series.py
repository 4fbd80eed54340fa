"""Several trainings in one folder: one for each patient left out, or for each rate and batch size."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from lvseg.errors import OptionError, RunError
from lvseg.train.options import TrainOptions
from lvseg.whole_files import whole_file

SERIES_FILE = "series.json"

Kind = Literal["cross-validation", "sweep"]


@dataclass(frozen=True)
class Series:
    """The trainings of a folder, each with its options in a folder of its own."""

    kind: Kind
    runs: Mapping[str, TrainOptions]

    def write(self, folder: Path) -> None:
        """Write ``series.json``."""
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / SERIES_FILE) as stream:
            stream.write((json.dumps(dataclasses.asdict(self), indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> "Series":
        """Read ``series.json``.

        Raises:
            RunError: If it is not that of a series of this version of lvseg.
        """
        path = folder / SERIES_FILE
        try:
            values = json.loads(path.read_bytes())
            return cls(
                values["kind"], {name: TrainOptions.parse(run) for name, run in values["runs"].items()}
            )
        except (ValueError, KeyError, TypeError, AttributeError, OptionError) as error:
            raise RunError(
                f"{path} is not the series of this lvseg ({error}); start it again", reason="MALFORMED_RUN"
            ) from error


def sweep(options: TrainOptions, rates: Sequence[float], batch_sizes: Sequence[int]) -> Series:
    """Return a training for each rate with each batch size."""
    runs = {
        f"rate-{rate:g}-batch-{size}": dataclasses.replace(options, learning_rate=rate, batch_size=size)
        for rate, size in product(rates, batch_sizes)
    }
    return Series("sweep", runs)


def leave_one_out(options: TrainOptions, patients: Sequence[str]) -> Series:
    """Return a training for each patient, validated on that patient and at its end alone.

    So nothing of the patient left out decides anything, not even which epoch's weights are kept.

    Raises:
        OptionError: If there is one patient alone.
    """
    if len(patients) < 2:
        raise OptionError(
            f"--cross-validate needs two patients at least, found {len(patients)}",
            reason="INVALID_OPTION",
            field="--cross-validate",
        )
    runs = {
        patient: dataclasses.replace(
            options,
            validate=(patient,),
            validation_percent=None,
            leave_none_out=False,
            validation_interval=options.epochs,
            early_stopping=None,
        )
        for patient in patients
    }
    return Series("cross-validation", runs)
