"""The server's files of TLS under a live server: what the next connection is shown."""

import logging
import ssl
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from lvseg.errors import OptionError, SecurityError
from lvseg_serve.client import Client, Tls
from lvseg_serve.rpc.credentials import ServerTls, server_credentials

Files = tuple[Path, Path]


@pytest.fixture
def files(authority: Any, tmp_path: Path) -> Files:
    return authority.issue(tmp_path, "server", "127.0.0.1")


@pytest.fixture
def tls_server(
    serving: Callable[..., AbstractContextManager[str]], engine: Any, files: Files
) -> Iterator[str]:
    credentials = server_credentials(ServerTls(certificate=files[0], key=files[1]))
    with serving(engine, guarded={"credentials": credentials}) as address:
        yield address


def _shown(address: str) -> str:
    """Return the certificate that a new connection is shown, in PEM."""
    host, port = address.split(":")
    return ssl.get_server_certificate((host, int(port)))


def test_a_new_certificate_is_shown_to_the_next_connection(
    tls_server: str, files: Files, authority: Any, tmp_path: Path, ca: Path
) -> None:
    first = files[0].read_text()
    assert _shown(tls_server) == first
    authority.issue(tmp_path, "server", "127.0.0.1")
    assert files[0].read_text() != first
    assert _shown(tls_server) == files[0].read_text()
    with Client(tls_server, tls=Tls(ca=ca)) as client:
        assert client.server_info().model.name == "threshold"


def test_a_connection_that_stands_outlives_a_rotation(
    tls_server: str, files: Files, authority: Any, tmp_path: Path, ca: Path, dicom: bytes
) -> None:
    with Client(tls_server, tls=Tls(ca=ca)) as client:
        client.segment(dicom)
        authority.issue(tmp_path, "server", "127.0.0.1")
        assert _shown(tls_server) == files[0].read_text()
        assert client.segment(dicom).area_mm2 == 900.0


def test_a_broken_new_certificate_leaves_the_former_in_force_and_is_logged_once(
    tls_server: str, files: Files, put: Callable[[Path, bytes], None], caplog: pytest.LogCaptureFixture
) -> None:
    first = files[0].read_text()
    put(files[0], b"hello")
    assert [_shown(tls_server), _shown(tls_server)] == [first, first]
    (record,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert "server.pem holds no certificate in PEM" in record.getMessage()
    assert record.getMessage().endswith("what was read before stays in force")


def test_a_new_certificate_waits_for_its_key(
    tls_server: str,
    files: Files,
    authority: Any,
    tmp_path: Path,
    put: Callable[[Path, bytes], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = files[0].read_text()
    certificate, key = authority.issue(tmp_path, "next", "127.0.0.1")
    put(files[0], certificate.read_bytes())
    assert _shown(tls_server) == first
    assert "server.key is not the key of" in caplog.text
    put(files[1], key.read_bytes())
    assert _shown(tls_server) == certificate.read_text()


def test_a_new_authority_of_clients_counts_for_the_next_connection(
    serving: Callable[..., AbstractContextManager[str]],
    engine: Any,
    files: Files,
    authority: Any,
    other_authority: Any,
    tmp_path: Path,
    ca: Path,
    put: Callable[[Path, bytes], None],
) -> None:
    put(tmp_path / "clients.pem", authority.pem)
    tls = ServerTls(certificate=files[0], key=files[1], client_ca=tmp_path / "clients.pem")

    def try_in(issuer: Any) -> str:
        certificate, key = issuer.issue(tmp_path, "client")
        with Client(address, tls=Tls(ca=ca, certificate=certificate, key=key)) as client:
            try:
                client.server_info()
            except SecurityError as error:
                return error.reason
        return "LET_IN"

    with serving(engine, guarded={"credentials": server_credentials(tls)}) as address:
        assert (try_in(authority), try_in(other_authority)) == ("LET_IN", "CLIENT_CERTIFICATE_REFUSED")
        put(tmp_path / "clients.pem", other_authority.pem)
        assert (try_in(authority), try_in(other_authority)) == ("CLIENT_CERTIFICATE_REFUSED", "LET_IN")


def test_files_that_cannot_be_used_stop_the_server_before_it_starts(files: Files, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"nosuch\.pem cannot be read \(No such file or directory\)"):
        server_credentials(ServerTls(certificate=tmp_path / "nosuch.pem", key=files[1]))
