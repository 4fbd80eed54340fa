"""What a data set holds, in figures."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from lvseg.data.labelled import LabelledImage


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Figures of some labelled slices: of one patient, of one side of a split, or of all."""

    contours: int
    epicardial: int
    """Slices that have an o-contour too."""
    patients: tuple[str, ...]
    shapes: tuple[tuple[int, int], ...]
    """Every distinct (rows, columns)."""
    pixel_spacings: tuple[tuple[float, float], ...]
    """Every distinct (between rows, between columns) in mm."""
    slices: int | None
    """Positions along the heart, all patients together; ``None`` where an image does not tell its own."""
    phases: tuple[int, int] | None
    """Fewest and most labelled images at one position; ``None`` where ``slices`` is."""
    trigger_times_ms: tuple[float, float] | None
    """Earliest and latest; ``None`` where no image has one."""
    areas_mm2: tuple[float, float]
    """Smallest and largest."""
    share: float
    """Pixels of the left ventricle among all pixels of the slices, 0 to 1."""
    shares: tuple[float, float]
    """Smallest and largest share of a slice."""


def summarise(images: Sequence[LabelledImage]) -> Summary:
    """Count and measure labelled slices.

    Raises:
        ValueError: If there are none.
    """
    if not images:
        raise ValueError("there is nothing to summarise: no slices")
    slices = [image.slice for image in images]
    times = [slice_.trigger_time_ms for slice_ in slices if slice_.trigger_time_ms is not None]
    areas = [image.area_mm2 for image in images]
    shares = [image.share for image in images]
    positions = _positions(images)
    return Summary(
        contours=len(images),
        epicardial=sum(image.sample.epicardium is not None for image in images),
        patients=tuple(dict.fromkeys(image.patient for image in images)),
        shapes=tuple(sorted({image.mask.shape for image in images})),
        pixel_spacings=tuple(sorted({slice_.pixel_spacing for slice_ in slices})),
        slices=None if positions is None else len(positions),
        phases=None if positions is None else (min(positions.values()), max(positions.values())),
        trigger_times_ms=(min(times), max(times)) if times else None,
        areas_mm2=(min(areas), max(areas)),
        share=sum(int(image.mask.sum()) for image in images) / sum(image.mask.size for image in images),
        shares=(min(shares), max(shares)),
    )


def _positions(images: Sequence[LabelledImage]) -> Counter[tuple[str, float, float, float]] | None:
    """Return how many images there are at each patient's positions, told apart to a tenth of a millimetre."""
    positions: Counter[tuple[str, float, float, float]] = Counter()
    for image in images:
        if image.slice.position_mm is None:
            return None
        x, y, z = (round(coordinate, 1) for coordinate in image.slice.position_mm)
        positions[image.patient, x, y, z] += 1
    return positions
