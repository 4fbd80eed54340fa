"""Entry points of the server, its client and the benchmark; the work is imported only when one is called."""

from lvseg.cli import run_command


def serve() -> None:
    """Run lvseg-serve."""
    run_command("lvseg_serve.cli", extra="serve")


def segment() -> None:
    """Run lvseg-segment."""
    run_command("lvseg_serve.client.cli")


def bench() -> None:
    """Run lvseg-bench."""
    run_command("lvseg_serve.bench.cli", extra="serve")


def doctor() -> None:
    """Run lvseg-doctor."""
    run_command("lvseg_serve.doctor_cli", extra="serve")
