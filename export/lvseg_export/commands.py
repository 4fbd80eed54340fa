"""Entry points of the exporter and the evaluation; the work is imported only when one is called."""

from lvseg.cli import run_command


def export() -> None:
    """Run lvseg-export."""
    run_command("lvseg_export.cli", extra="export")


def evaluate() -> None:
    """Run lvseg-evaluate."""
    run_command("lvseg_export.evaluate_cli", extra="export")
