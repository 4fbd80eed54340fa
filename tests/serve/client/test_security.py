"""Both clients against real servers with real certificates and tokens: who is let in, and what the others are told."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import grpc
import pytest

from lvseg.errors import OptionError, SecurityError, ServerError
from lvseg_serve.client import AsyncClient, Client, SeriesSlice, Tls
from lvseg_serve.rpc.authentication import TokenInterceptor
from lvseg_serve.rpc.credentials import ServerTls, server_credentials
from tests.serve.client.conftest import Stream

Ask = Callable[..., Any]
Serving = Callable[..., AbstractContextManager[str]]

TOKEN = "0123456789abcdef" * 2
WRONG = "f" * 32
DAY_BEFORE_YESTERDAY_TO_YESTERDAY = (-2, -1)


@pytest.fixture
def tls(ca: Path) -> Tls:
    return Tls(ca=ca)


@pytest.fixture
def serving_tls(serving: Serving, engine: Any, tmp_path: Path, authority: Any) -> Serving:
    """Run a server for 127.0.0.1 whose certificate is what is asked for."""

    def serving_tls(
        *hosts: str, issuer: Any = authority, client_ca: Path | None = None, **issued: Any
    ) -> AbstractContextManager[str]:
        certificate, key = issuer.issue(tmp_path, "server", *(hosts or ("127.0.0.1",)), **issued)
        # gRPC's own credentials: ours would not start with a certificate that has expired.
        credentials = grpc.ssl_server_credentials(
            [(key.read_bytes(), certificate.read_bytes())],
            root_certificates=client_ca and client_ca.read_bytes(),
            require_client_auth=client_ca is not None,
        )
        return serving(engine, guarded={"credentials": credentials})

    return serving_tls


@pytest.fixture
def serving_tokens(serving: Serving, engine: Any, tmp_path: Path, put: Callable[..., None]) -> Serving:
    """Run a server without TLS that knows one token."""

    def serving_tokens() -> AbstractContextManager[str]:
        put(tmp_path / "tokens", TOKEN.encode())
        return serving(engine, guarded={"interceptors": [TokenInterceptor(tmp_path / "tokens")]})

    return serving_tokens


def _refused(ask: Ask, address: str, **options: Any) -> SecurityError:
    with pytest.raises(SecurityError) as caught:
        ask("server_info", address, options=options)
    assert "no server" not in str(caught.value)
    return caught.value


def test_a_server_of_the_named_authority_is_spoken_to(
    ask: Ask, serving_tls: Serving, tls: Tls, dicom: bytes
) -> None:
    with serving_tls() as address:
        assert ask("segment", address, dicom, options={"tls": tls}).area_mm2 == 900.0


def test_a_server_whose_certificate_has_expired_is_told_apart(
    ask: Ask, serving_tls: Serving, tls: Tls
) -> None:
    with serving_tls(days=DAY_BEFORE_YESTERDAY_TO_YESTERDAY) as address:
        error = _refused(ask, address, tls=tls)
    assert (error.reason, error.code) == ("SERVER_CERTIFICATE_EXPIRED", "UNAVAILABLE")
    assert f"{address} is not trusted: its certificate, or its authority's, has expired" in str(error)


def test_a_server_whose_certificate_is_not_valid_yet_is_told_apart(
    ask: Ask, serving_tls: Serving, tls: Tls
) -> None:
    with serving_tls(days=(2, 3)) as address:
        assert _refused(ask, address, tls=tls).reason == "SERVER_CERTIFICATE_NOT_YET_VALID"


def test_a_server_of_another_name_is_told_apart(ask: Ask, serving_tls: Serving, tls: Tls) -> None:
    with serving_tls("elsewhere.example") as address:
        assert _refused(ask, address, tls=tls).reason == "SERVER_NAME_MISMATCH"


def test_a_server_of_an_unknown_authority_is_told_apart(
    ask: Ask, serving_tls: Serving, tls: Tls, other_authority: Any
) -> None:
    with serving_tls(issuer=other_authority) as address:
        assert _refused(ask, address, tls=tls).reason == "UNKNOWN_AUTHORITY"


def test_the_name_of_a_server_behind_another_address_can_be_given(
    ask: Ask, serving_tls: Serving, ca: Path
) -> None:
    with serving_tls("elsewhere.example") as address:
        tls = Tls(ca=ca, server_name="elsewhere.example")
        assert ask("server_info", address, options={"tls": tls}).model.name == "threshold"


def test_plain_text_to_a_server_with_tls_is_told_apart(ask: Ask, serving_tls: Serving) -> None:
    with serving_tls() as address:
        error = _refused(ask, address)
    assert error.reason == "SERVER_WANTS_TLS"
    assert "add --tls-ca" in str(error)


def test_tls_to_a_server_without_it_is_told_apart(ask: Ask, server: str, tls: Tls) -> None:
    assert _refused(ask, server, tls=tls).reason == "SERVER_WITHOUT_TLS"


def test_no_server_is_no_fault_of_tls(ask: Ask, nowhere: str, tls: Tls) -> None:
    with pytest.raises(ServerError, match="no server") as caught:
        ask("server_info", nowhere, options={"tls": tls, "connect_s": 0.0})
    assert not isinstance(caught.value, SecurityError)


def test_a_client_with_a_certificate_of_the_servers_authority_is_let_in(
    ask: Ask, serving_tls: Serving, ca: Path, authority: Any, tmp_path: Path
) -> None:
    certificate, key = authority.issue(tmp_path, "client")
    with serving_tls(client_ca=ca) as address:
        tls = Tls(ca=ca, certificate=certificate, key=key)
        assert ask("server_info", address, options={"tls": tls}).model.name == "threshold"


def test_a_client_without_a_certificate_is_told_that_one_is_wanted(
    ask: Ask, serving_tls: Serving, ca: Path, tls: Tls
) -> None:
    with serving_tls(client_ca=ca) as address:
        error = _refused(ask, address, tls=tls)
    assert error.reason == "CLIENT_CERTIFICATE_MISSING"
    assert "add --tls-certificate and --tls-key" in str(error)


def test_a_client_with_a_certificate_of_another_authority_is_told_that_it_is_refused(
    ask: Ask, serving_tls: Serving, ca: Path, other_authority: Any, tmp_path: Path
) -> None:
    certificate, key = other_authority.issue(tmp_path, "client")
    with serving_tls(client_ca=ca) as address:
        error = _refused(ask, address, tls=Tls(ca=ca, certificate=certificate, key=key))
    assert error.reason == "CLIENT_CERTIFICATE_REFUSED"
    assert str(certificate) in str(error)


def test_a_client_whose_own_certificate_has_expired_asks_nobody(
    ask: Ask, nowhere: str, ca: Path, authority: Any, tmp_path: Path
) -> None:
    certificate, key = authority.issue(tmp_path, "client", days=DAY_BEFORE_YESTERDAY_TO_YESTERDAY)
    with pytest.raises(OptionError, match=r"client\.pem expired on") as caught:
        ask("server_info", nowhere, options={"tls": Tls(ca=ca, certificate=certificate, key=key)})
    assert caught.value.reason == "CERTIFICATE_EXPIRED"


def test_a_certificate_without_its_key_is_an_option_error(ca: Path) -> None:
    with pytest.raises(OptionError, match="--tls-certificate and --tls-key go together"):
        Tls(ca=ca, certificate=ca)


def test_the_right_token_opens_the_server(
    ask: Ask, serving_tokens: Callable[[], AbstractContextManager[str]], dicom: bytes
) -> None:
    with serving_tokens() as address:
        assert ask("segment", address, dicom, options={"token": TOKEN}).area_mm2 == 900.0


@pytest.mark.parametrize(("token", "reason"), [(None, "TOKEN_MISSING"), (WRONG, "TOKEN_REFUSED")])
def test_any_other_token_or_none_does_not(
    ask: Ask, serving_tokens: Callable[[], AbstractContextManager[str]], token: str | None, reason: str
) -> None:
    with serving_tokens() as address:
        error = _refused(ask, address, token=token)
    assert (error.reason, error.code) == (reason, "UNAUTHENTICATED")
    assert WRONG not in str(error)


def test_token_and_certificates_go_together(
    ask: Ask,
    serving: Serving,
    engine: Any,
    authority: Any,
    ca: Path,
    tmp_path: Path,
    put: Callable[..., None],
) -> None:
    put(tmp_path / "tokens", TOKEN.encode())
    certificate, key = authority.issue(tmp_path, "server", "127.0.0.1")
    guarded = {
        "credentials": server_credentials(ServerTls(certificate=certificate, key=key)),
        "interceptors": [TokenInterceptor(tmp_path / "tokens")],
    }
    with serving(engine, guarded=guarded) as address:
        options = {"tls": Tls(ca=ca), "token": TOKEN}
        assert ask("server_info", address, options=options).model.name == "threshold"
        assert _refused(ask, address, tls=Tls(ca=ca), token=WRONG).reason == "TOKEN_REFUSED"


def test_a_token_goes_over_no_network_in_plain_text() -> None:
    with pytest.raises(OptionError, match=r"192\.0\.2\.1:50051 in plain text.*add --tls-ca") as caught:
        Client("192.0.2.1:50051", token=TOKEN)
    assert caught.value.reason == "TOKEN_IN_PLAIN_TEXT"


@pytest.mark.parametrize("token", ["", "f" * 31, f"{TOKEN}\n", f"{TOKEN} {TOKEN}", "ü" * 32])
def test_what_is_no_token_is_refused_without_being_shown(token: str) -> None:
    with pytest.raises(OptionError, match="the token is no token") as caught:
        Client(token=token)
    assert not token or token not in str(caught.value)


def test_a_stream_carries_the_token_too(
    serving_tokens: Callable[[], AbstractContextManager[str]], dicom: bytes
) -> None:
    async def asynchronous(address: str) -> list[str]:
        async with AsyncClient(address, token=TOKEN) as client:
            return [id_ async for id_, _ in client.segment_stream([SeriesSlice(id="b", dicom=dicom)])]

    with serving_tokens() as address:
        with Client(address, token=TOKEN) as client:
            assert [id_ for id_, _ in client.segment_stream([SeriesSlice(id="a", dicom=dicom)])] == ["a"]
        assert asyncio.run(asynchronous(address)) == ["b"]


def test_a_stream_without_the_token_is_a_security_error(
    serving_tokens: Callable[[], AbstractContextManager[str]], dicom: bytes
) -> None:
    with serving_tokens() as address, Client(address) as client, pytest.raises(SecurityError) as caught:
        list(client.segment_stream([SeriesSlice(id="a", dicom=dicom)]))
    assert caught.value.reason == "TOKEN_MISSING"


def test_a_stream_that_is_refused_while_it_sends_says_why(
    stream: Stream, serving_tokens: Serving, dicom: bytes
) -> None:
    series = [SeriesSlice(id=str(number), dicom=dicom) for number in range(8)]
    with serving_tokens() as address:
        for _ in range(
            20
        ):  # gRPC's asyncio forgets the status of a call in whose midst it sends: of every second one
            with pytest.raises(SecurityError) as refused:
                stream(address, series, options={"token": WRONG})
            assert refused.value.reason == "TOKEN_REFUSED"
