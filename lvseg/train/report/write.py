"""All files of a report."""

from collections.abc import Sequence

from lvseg.errors import OptionError
from lvseg.evaluation import Evaluation, SliceResult
from lvseg.evaluation.tables import write_slices
from lvseg.overlay import overlay
from lvseg.train.report.curves import Progress, draw_curves
from lvseg.train.report.page import write_page
from lvseg.train.run import TrainedRun


def write_report(run: TrainedRun, evaluation: Evaluation, *, shown: str | None = None) -> None:
    """Write report.html, curves.png, validation.csv and an overlay for each validation slice into the run folder.

    Args:
        run: The training.
        evaluation: Of its model on the validation slices.
        shown: Name of the slice that the page follows through the network's layers; where left out, the one
            with the ventricle of median area.

    Raises:
        OptionError: If no validation slice has that name.
    """
    chosen = _choose(evaluation, shown)
    draw_curves(Progress.read(run.folder), run.folder / "curves.png")
    write_slices(evaluation, run.folder / "validation.csv")
    overlays = run.folder / "overlays"
    overlays.mkdir(exist_ok=True)
    for result in evaluation.results:
        picture = overlay(result.image.slice.pixels, mask=result.mask, contour=result.image.contour)
        picture.save(overlays / f"{result.name.replace('/', '-')}.png")
    write_page(run, evaluation, chosen)


def check_slice(name: str, names: Sequence[str]) -> None:
    """Check that a slice to follow through the layers is one of those validated on.

    Raises:
        OptionError: If it is not; the message lists them.
    """
    if name not in names:
        raise OptionError(
            f"no validation slice {name}; there are {', '.join(names)}",
            reason="UNKNOWN_SLICE",
            field="--slice",
            expected=", ".join(names),
        )


def _choose(evaluation: Evaluation, name: str | None) -> SliceResult:
    if name is None:
        by_area = sorted(evaluation.results, key=lambda result: (result.expert_area_mm2, result.name))
        return by_area[len(by_area) // 2]
    results = {result.name: result for result in evaluation.results}
    check_slice(name, list(results))
    return results[name]
