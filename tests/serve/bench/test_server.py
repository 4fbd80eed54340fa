"""A server behind TLS and a token as a subject of the benchmark."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from lvseg_serve.bench.rows import Row, Subject
from lvseg_serve.bench.server import Pressure, measure_under
from lvseg_serve.client import Tls
from lvseg_serve.client.security import Access
from lvseg_serve.rpc.authentication import TokenInterceptor
from lvseg_serve.rpc.credentials import ServerTls, server_credentials

TOKEN = "0123456789abcdef" * 2


def test_a_server_that_lets_not_everybody_in_can_be_loaded(
    serving: Callable[..., AbstractContextManager[str]],
    engine: Any,
    authority: Any,
    ca: Path,
    tmp_path: Path,
    put: Callable[[Path, bytes], None],
    dicom: bytes,
):
    certificate, key = authority.issue(tmp_path, "server", "127.0.0.1")
    put(tmp_path / "tokens", TOKEN.encode())
    guarded = {
        "credentials": server_credentials(ServerTls(certificate=certificate, key=key)),
        "interceptors": [TokenInterceptor(tmp_path / "tokens")],
    }
    subject = Subject(engine="threshold-cpu via gRPC", precision="fp32", batch=1, threads=1)
    pressure = Pressure(rate=None, callers=2, seconds=0.2)
    with serving(engine, guarded=guarded) as address:
        result = measure_under(pressure, address, Access(Tls(ca=ca), TOKEN), subject, dicom)
    assert isinstance(result, Row)
    assert not result.errors
