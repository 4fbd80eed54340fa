"""The confusion of the two classes, pixel by pixel, and the file that follows it over the epochs."""

import csv
import io
from collections.abc import Mapping
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np

from lvseg.contour import Mask, check_mask
from lvseg.whole_files import whole_file

CONFUSION = Path("confusion.csv")


@dataclass(frozen=True)
class Confusion:
    """Pixels by what the expert's mask and the model's say of them; positive is left ventricle."""

    true_negative: int = 0
    false_positive: int = 0
    false_negative: int = 0
    true_positive: int = 0

    @classmethod
    def of(cls, mask: Mask, expert: Mask) -> "Confusion":
        """Count the pixels of a slice.

        Raises:
            ValueError: If the masks differ in shape, are not 2-D, or are neither bool nor integer.
        """
        found, inside = check_mask(mask), check_mask(expert)
        if found.shape != inside.shape:
            raise ValueError(f"expected two masks of one shape, got {found.shape} and {inside.shape}")
        both = int(np.count_nonzero(found & inside))
        false_positive = int(np.count_nonzero(found)) - both
        false_negative = int(np.count_nonzero(inside)) - both
        return cls(found.size - both - false_positive - false_negative, false_positive, false_negative, both)

    def __add__(self, other: "Confusion") -> "Confusion":
        return Confusion(*(mine + theirs for mine, theirs in zip(astuple(self), astuple(other), strict=True)))

    @property
    def sensitivity(self) -> float | None:
        """Share of the expert's ventricle that the model finds; ``None`` where the expert drew none."""
        return _share(self.true_positive, self.false_negative)

    @property
    def precision(self) -> float | None:
        """Share of what the model finds that is the expert's ventricle; ``None`` where it finds nothing."""
        return _share(self.true_positive, self.false_positive)

    @property
    def specificity(self) -> float | None:
        """Share of the expert's background that the model takes for such; ``None`` where there is none."""
        return _share(self.true_negative, self.false_positive)


COLUMNS = ("epoch", *(field.name for field in fields(Confusion)))


def read_confusions(path: Path) -> dict[int, Confusion]:
    """Return the confusion at each validated epoch, by epoch."""
    with path.open(newline="") as stream:
        return {
            int(row["epoch"]): Confusion(*(int(row[column]) for column in COLUMNS[1:]))
            for row in csv.DictReader(stream)
        }


def write_confusions(confusions: Mapping[int, Confusion], path: Path) -> None:
    """Write the confusion at each validated epoch, all of it or nothing."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((epoch, *astuple(confusion)) for epoch, confusion in sorted(confusions.items()))
    with whole_file(path) as stream:
        stream.write(text.getvalue().encode())


def _share(part: int, rest: int) -> float | None:
    return part / (part + rest) if part + rest else None
