"""Where a server may listen, and what its options may not be together."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from lvseg.errors import OptionError
from lvseg_serve.cli import main
from lvseg_serve.security_options import Security

TLS = {"tls_certificate": Path("server.pem"), "tls_key": Path("server.key")}
TOKENS = {"token_file": Path("tokens")}
NETWORK = "0.0.0.0:50051"
LOOPBACK = "127.0.0.1:50051"


def _security(**given: Any) -> Security:
    nothing = dict.fromkeys(("tls_certificate", "tls_key", "tls_client_ca", "token_file"))
    return Security(**{**nothing, "insecure": False, **given})


@pytest.mark.parametrize("listen", [NETWORK, "[::]:0", "192.0.2.1:50051"])
def test_a_network_is_not_listened_on_in_plain_text(listen: str) -> None:
    with pytest.raises(OptionError, match="add --tls-certificate and --tls-key, or --insecure") as caught:
        _security().check(listen)
    assert (caught.value.reason, caught.value.field) == ("PLAIN_TEXT", "--listen")


@pytest.mark.parametrize("given", [{}, {"insecure": True}])
def test_tokens_go_over_no_network_in_plain_text(given: dict[str, bool]) -> None:
    with pytest.raises(OptionError, match="could read the tokens of --token-file") as caught:
        _security(**TOKENS, **given).check(NETWORK)
    assert (caught.value.reason, caught.value.field) == ("TOKEN_IN_PLAIN_TEXT", "--token-file")


@pytest.mark.parametrize(
    ("listen", "given"),
    [
        (LOOPBACK, {}),
        ("localhost:0", TOKENS),
        ("[::1]:0", {"insecure": True}),
        (LOOPBACK, TLS),
        (NETWORK, TLS),
        (NETWORK, {**TLS, **TOKENS, "tls_client_ca": Path("ca.pem")}),
        (NETWORK, {"insecure": True}),
    ],
)
def test_loopback_tls_and_what_is_asked_for_are_allowed(listen: str, given: dict[str, Any]) -> None:
    _security(**given).check(listen)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"tls_key": Path("a")}, "--tls-certificate and --tls-key go together"),
        ({"tls_certificate": Path("a")}, "--tls-certificate and --tls-key go together"),
        ({"tls_client_ca": Path("a")}, "--tls-client-ca goes with --tls-certificate and --tls-key"),
        ({**TLS, "insecure": True}, "--insecure and --tls-certificate exclude each other"),
    ],
)
def test_options_that_contradict_each_other_are_refused(given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        _security(**given).check(LOOPBACK)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--listen", "0.0.0.0:0"), "reaches beyond this machine"),
        (("--listen", "0.0.0.0:0", "--insecure"), "/no/bundle is not a bundle"),
        (("--tls-key", "server.key"), "--tls-certificate and --tls-key go together"),
        (("--tls-certificate", "/no/a.pem", "--tls-key", "/no/a.key"), "/no/a.pem cannot be read"),
        (("--token-file", "/no/tokens"), "/no/tokens cannot be read"),
    ],
)
def test_the_command_says_so_in_one_line_before_it_loads_anything(
    arguments: tuple[str, ...], says: str
) -> None:
    result = CliRunner().invoke(main, ["/no/bundle", *arguments])
    assert result.exit_code == 2
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert says in result.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("listen", "given", "says"),
    [
        (LOOPBACK, {}, ""),
        (NETWORK, {"insecure": True}, "can read the slices"),
        (NETWORK, TLS, "whoever reaches 0.0.0.0:50051 is served"),
        (NETWORK, {**TLS, **TOKENS}, ""),
        (NETWORK, {**TLS, "tls_client_ca": Path("ca.pem")}, ""),
    ],
)
def test_a_server_that_is_open_to_a_network_is_warned_of(
    listen: str, given: dict[str, Any], says: str
) -> None:
    warning = _security(**given).warning(listen)
    assert says in warning
    assert bool(warning) == bool(says)
