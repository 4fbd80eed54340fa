"""Entry points of the commands that need `lvseg` alone; the work is imported only when one is called."""

from lvseg.cli import run_command


def data() -> None:
    """Run lvseg-data."""
    run_command("lvseg.data.cli")


def phantom() -> None:
    """Run lvseg-phantom."""
    run_command("lvseg.data.phantom_cli")


def train() -> None:
    """Run lvseg-train."""
    run_command("lvseg.train.cli", extra="train")


def report() -> None:
    """Run lvseg-report."""
    run_command("lvseg.train.report.cli", extra="train")
