"""The command lvseg-doctor."""

import platform
import sys

import click
from rich.console import Console
from rich.table import Table

from lvseg.cli import Command
from lvseg_export import cpu
from lvseg_serve.doctor import diagnose


@click.command(cls=Command)
def main() -> None:
    """Tell which engines can run a bundle on this machine, and how to get those that cannot.

    \b
    Example:
      lvseg-doctor
    """  # noqa: D301 - click's own mark for text that it shall not fold
    # Without markup, to which the brackets of 'lvseg[serve]' would be a style.
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False, markup=False)
    console.print(
        f"{cpu.model()}: {', '.join(cpu.features()) or 'none of the instructions that engines use'}"
    )
    console.print(f"Python {platform.python_version()} on {platform.platform()}")
    table = Table()
    for column in ("engine", "version", "precisions", "missing"):
        table.add_column(column, no_wrap=column != "missing")
    for finding in diagnose():
        table.add_row(
            finding.runtime,
            finding.version or "-",
            ", ".join(finding.precisions) or "-",
            finding.remedy or "nothing",
        )
    console.print(table)
