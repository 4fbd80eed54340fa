"""Entry points of the server, its client and the benchmark; the work is imported only when one is called."""

import os
import signal

from lvseg.cli import run_command


def serve() -> None:
    """Run lvseg-serve."""
    _hush_grpc("NONE")  # even its errors quote callers, such as the name that one asks for in a TLS handshake
    run_command("lvseg_serve.cli", extra="serve")


def segment() -> None:
    """Run lvseg-segment."""
    _hush_grpc()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # nothing half done is left, as with Ctrl-C
    run_command("lvseg_serve.client.cli")


def admin() -> None:
    """Run lvseg-admin."""
    run_command("lvseg_serve.client.admin_cli")


def bench() -> None:
    """Run lvseg-bench."""
    _hush_grpc()
    run_command("lvseg_serve.bench.cli", extra="serve")


def doctor() -> None:
    """Run lvseg-doctor."""
    run_command("lvseg_serve.doctor_cli", extra="serve")


def _hush_grpc(verbosity: str = "ERROR") -> None:
    """Leave to our own errors what gRPC else prints as well: a line for each handshake that fails, a stranger's too."""
    os.environ.setdefault("GRPC_VERBOSITY", verbosity)
