"""What lvseg-segment says of contours that look wrong: lines for a person, after the slices are done."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from lvseg.shift import Shift, ShiftMeter
from lvseg_serve.client.jobs import Outcome


def doubts(outcomes: Iterable[Outcome]) -> Iterator[str]:
    """Yield a line if contours were flagged, and one if those of a series all lie off in one direction.

    A series is that of the DICOM files. Slices that cannot be read here, or do not name theirs, are of none.
    """
    flagged: list[Outcome] = []
    meters: defaultdict[str, ShiftMeter] = defaultdict(ShiftMeter)
    first: dict[str, str] = {}
    for outcome in outcomes:
        if outcome.row.flags:
            flagged.append(outcome)
        if outcome.offset_mm is not None and outcome.series:
            meters[outcome.series].add(outcome.offset_mm)
            first.setdefault(outcome.series, outcome.row.file)
    if flagged:
        yield _flagged(flagged)
    shifted = [
        (first[series], shift)
        for series, meter in meters.items()
        if (shift := meter.shift()) is not None and shift.systematic
    ]
    if shifted:
        yield _shifted(shifted, series=len(meters))


def _flagged(flagged: list[Outcome]) -> str:
    kinds = Counter(outcome.row.flags for outcome in flagged)
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    plural = "contours look" if len(flagged) > 1 else "contour looks"
    return f"{len(flagged)} {plural} wrong ({counts}), the first: {flagged[0].row.file}; see the column flags"


def _shifted(shifted: list[tuple[str, Shift]], *, series: int) -> str:
    file, shift = shifted[0]
    x, y = shift.mean_mm
    way = f"{abs(x):.1f} mm to the {'right' if x > 0 else 'left'} and {abs(y):.1f} mm {'down' if y > 0 else 'up'}"
    return (
        f"the contours of {len(shifted)} of {series} series lie off the masks in one direction, the first: "
        f"that of {file}, {way} on average over {shift.slices} slices; check the origin of their coordinates"
    )
