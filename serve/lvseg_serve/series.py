"""What the slices of one stream come to, taken together."""

from lvseg.shift import ShiftMeter
from lvseg_serve.answers import Segmentation, SeriesSummary


class Series:
    """Collects what became of each slice; of all slices together it keeps a few numbers."""

    def __init__(self) -> None:
        self._answered = 0
        self._failed = 0
        self._contours = ShiftMeter()

    def add(self, answer: Segmentation) -> None:
        """Take in a slice that was segmented."""
        self._answered += 1
        offset_mm = answer.plausibility.offset_mm if answer.plausibility else None
        if offset_mm is not None:
            self._contours.add(offset_mm)

    def add_failure(self) -> None:
        """Take in a slice that was refused or failed."""
        self._failed += 1

    def summary(self) -> SeriesSummary:
        """Return what there is to say so far."""
        return SeriesSummary(
            answered=self._answered, failed=self._failed, contour_shift=self._contours.shift()
        )
