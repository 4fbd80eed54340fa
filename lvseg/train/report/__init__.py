"""What a finished training leaves for people: a page, curves, a table of the validation slices, overlays."""

from lvseg.train.report.write import write_report

__all__ = ["write_report"]
