"""What lvseg-segment writes: pictures and a contour for each slice, and one table of all."""

import csv
import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lvseg.contour import Points, format_contour
from lvseg.dicom import Slice
from lvseg.overlay import overlay
from lvseg_serve.answers import Segmentation
from lvseg_serve.png import encode_mask

TABLE = "segmentation.csv"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A slice's line of the table; what does not apply is empty."""

    file: str
    frame: int | None = None
    rows: int | None = None
    columns: int | None = None
    area_mm2: float | None = None
    dice: float | None = None
    """Empty where there was no contour, and where the slice failed."""
    apd_mm: float | None = None
    hausdorff_mm: float | None = None
    good: bool | None = None
    flags: str = ""
    """What is wrong with the contour, as :class:`lvseg.plausibility.Flag` says it, with spaces between."""
    model: str = ""
    engine: str = ""
    ms: float | None = None
    """The slice's own time where the model runs (:attr:`lvseg_serve.answers.StageTimings.own_ms`), in milliseconds: no
    wait behind other slices, nor the way there and back."""
    status: str = "ok"
    """``ok`` or ``failed``."""
    error: str = ""
    """Why the slice failed, or why a slice that did not has no overlay."""


def answered(file: str, answer: Segmentation) -> Row:
    """Return the row of a slice that was segmented."""
    agreement, plausibility = answer.agreement, answer.plausibility
    return Row(
        file=file,
        frame=answer.frame,
        rows=answer.rows,
        columns=answer.columns,
        area_mm2=answer.area_mm2,
        dice=agreement.dice if agreement else None,
        apd_mm=agreement.apd_mm if agreement else None,
        hausdorff_mm=agreement.hausdorff_mm if agreement else None,
        good=agreement.good if agreement else None,
        flags=" ".join(sorted(plausibility.flags)) if plausibility else "",
        model=f"{answer.model.name} {answer.model.version}",
        engine=f"{answer.model.engine} {answer.model.precision}",
        ms=answer.timings.own_ms,
    )


def write_table(folder: Path, rows: Iterable[Row]) -> None:
    """Write the table of all slices."""
    with (folder / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = [field.name for field in dataclasses.fields(Row)]
        writer.writerow(columns)
        writer.writerows([_cell(getattr(row, column)) for column in columns] for row in rows)


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.4f}"
    return str(value)


def write_mask_and_contour(folder: Path, name: str, answer: Segmentation) -> None:
    """Write a slice's mask as PNG and, unless the mask is empty, its outline as a Sunnybrook contour."""
    if answer.mask is not None:
        _place(folder, f"{name}.mask.png").write_bytes(encode_mask(answer.mask))
    if answer.contour is not None:
        _place(folder, f"{name}.contour.txt").write_text(format_contour(answer.contour), encoding="ascii")


def write_overlay(
    folder: Path, name: str, slice_: Slice, answer: Segmentation, contour: Points | None
) -> None:
    """Write a picture of the slice with the mask's outline and, where there is one, the expert's contour."""
    overlay(slice_.pixels, answer.mask, contour).save(_place(folder, f"{name}.overlay.png"))


def _place(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
