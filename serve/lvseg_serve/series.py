"""What the slices of one stream come to, taken together."""

from lvseg_serve.answers import Segmentation, SeriesSummary


class Series:
    """Collects what became of each slice."""

    def __init__(self) -> None:
        self._answered = 0
        self._failed = 0

    def add(self, answer: Segmentation) -> None:  # noqa: ARG002 - it is counted
        """Take in a slice that was segmented."""
        self._answered += 1

    def add_failure(self) -> None:
        """Take in a slice that was refused or failed."""
        self._failed += 1

    def summary(self) -> SeriesSummary:
        """Return what there is to say so far."""
        return SeriesSummary(answered=self._answered, failed=self._failed)
