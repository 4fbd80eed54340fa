"""Entry point of the exporter; the work is imported only when it is called."""

from lvseg.cli import run_command


def export() -> None:
    """Run lvseg-export."""
    run_command("lvseg_export.cli", extra="export")
