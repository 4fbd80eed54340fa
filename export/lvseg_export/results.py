"""What the files of a bundle were held to at export: ``parity.json``, and the table of the model card."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass

from lvseg_export.bundle import EngineFile
from lvseg_export.parity import LARGEST_DICE_LOSS, LARGEST_DIFFERING_SHARE, Parity


@dataclass(frozen=True, kw_only=True)
class Result:
    """One check that an engine passed with one file."""

    file: str
    precision: str
    engine: str
    """Runtime and device."""
    engine_version: str
    check: str
    """What was compared, such as ``"phantoms"``."""
    parity: Parity
    dice_on_labels: float | None = None
    """Of the engine with the experts' labels, the mean over the slices, where they have any."""
    trained_dice_on_labels: float | None = None
    """The same of the trained model in PyTorch."""


def to_json(results: Sequence[Result], engines: Sequence[EngineFile] = ()) -> str:
    """Return the text of ``parity.json``: the limits, the files that nothing examined, and every result."""
    limits = {
        "largest_differing_share_of_pixels": dict(LARGEST_DIFFERING_SHARE),
        "largest_loss_of_mean_dice": dict(LARGEST_DICE_LOSS),
    }
    document = {
        "limits": limits,
        "not_examined": [engine.file for engine in engines if not engine.examined],
        "results": [dataclasses.asdict(result) for result in results],
    }
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def to_markdown(results: Sequence[Result]) -> str:
    """Return the table of the model card."""
    header = (
        "file",
        "engine",
        "precision",
        "slices from",
        "slices",
        "pixels that differ",
        "Dice of the masks, mean and lowest",
        "APD, mm",
        "Dice with the experts' labels (PyTorch)",
    )
    rows = [header, ("---",) * len(header), *map(_cells, results)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)


def _cells(result: Result) -> tuple[str, ...]:
    parity = result.parity
    labels = "-"
    if result.dice_on_labels is not None:
        labels = f"{result.dice_on_labels:.4f} ({result.trained_dice_on_labels:.4f})"
    return (
        f"`{result.file}`",
        f"{result.engine} {result.engine_version}",
        result.precision,
        result.check,
        str(parity.slices),
        f"{parity.differing_pixels} of {parity.pixels}",
        f"{parity.dice:.4f}, {parity.lowest_dice:.4f}",
        "-" if parity.apd_mm is None else f"{parity.apd_mm:.3f}",
        labels,
    )
