"""An evaluation as tables on the console: a patient a row, and the totals."""

from rich import box
from rich.console import Console
from rich.table import Table

from lvseg.evaluation.areas import AreaAgreement
from lvseg.evaluation.evaluation import Evaluation
from lvseg.evaluation.scores import MEASURES, AcrossPatients, Scores, Spread, Way

_HEADINGS = {
    "dice": "Dice",
    "apd_mm": "APD\nmm",
    "hausdorff_mm": "HD\nmm",
    "good_percent": "good\n%",
    "area_error_percent": "area\n%",
    "absolute_area_error_percent": "|area|\n%",
}
_TITLES: dict[Way, str] = {
    "honest": "Honest: every slice counts with its whole mask, a missed ventricle is Dice 0",
    "challenge": "As the 2009 challenge scores: a contour a slice, means of good ones alone",
}
_DECIMALS = {"dice": 3, "apd_mm": 2}
_LEGEND = (
    "APD: average perpendicular distance; HD: Hausdorff distance; good: APD below 5 mm, a share of all contours; "
    "area: error of the area, signed and absolute. Definitions: docs/evaluation.md"
)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print both ways of scoring, a table each, and how the areas agree."""
    for way in _TITLES:
        console.print(evaluation_table(evaluation, way))
    console.print(_areas(evaluation.areas), highlight=False)
    console.print(_LEGEND, highlight=False)


def evaluation_table(evaluation: Evaluation, way: Way) -> Table:
    """Return a table that fits 80 columns: the patients, all slices together, mean and SD over patients."""
    table = Table(
        "patient",
        title=_TITLES[way],
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE,
        pad_edge=False,
    )
    for heading in ("slices", "missed" if way == "honest" else "good", *_HEADINGS.values()):
        table.add_column(heading, justify="right", no_wrap=True)
    for patient in evaluation.patients:
        table.add_row(patient.patient, *_row(patient.scores(way), way))
    table.add_section()
    table.add_row("all slices", *_row(evaluation.scores(way), way))
    total = evaluation.across_patients(way)
    table.add_row("patients, mean", "", "", *_across(total, "mean"))
    table.add_row("patients, SD", "", "", *_across(total, "sd"))
    return table


def _row(scores: Scores, way: Way) -> list[str]:
    counts = (scores.contours, scores.missed if way == "honest" else scores.counted)
    return [*map(str, counts), *(_figure(measure, getattr(scores, measure)) for measure in MEASURES)]


def _across(total: AcrossPatients, of: str) -> list[str]:
    spreads: list[tuple[str, Spread | None]] = [(measure, getattr(total, measure)) for measure in MEASURES]
    return [
        _figure(measure, None if spread is None else getattr(spread, of), signed=of == "mean")
        for measure, spread in spreads
    ]


def _figure(measure: str, value: float | None, *, signed: bool = True) -> str:
    if value is None:
        return "-"
    sign = "+" if signed and measure == "area_error_percent" else ""
    return f"{value:{sign}.{_DECIMALS.get(measure, 1)}f}"


def _areas(areas: AreaAgreement) -> str:
    text = f"Areas, automatic less expert: bias {areas.bias_mm2 / 100:+.2f} cm²"
    if areas.lower_limit_mm2 is not None and areas.upper_limit_mm2 is not None:
        low, high = areas.lower_limit_mm2 / 100, areas.upper_limit_mm2 / 100
        text += f", limits of agreement {low:+.2f} to {high:+.2f} cm²"
    return f"{text} ({areas.slices} slice{'s' * (areas.slices != 1)})"
