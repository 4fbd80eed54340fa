import pytest

from lvseg.errors import OptionError
from lvseg_serve.address import is_loopback, parse_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:50051", ("127.0.0.1", 50051)),
        ("localhost:0", ("localhost", 0)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_address_is_a_host_and_a_port(address: str, expected: tuple[str, int]) -> None:
    assert parse_address(address, option="--listen") == expected


@pytest.mark.parametrize(
    "address",
    ["", "localhost", ":50051", "localhost:", "localhost:http", "localhost:65536", "::1:50051", "a b:1"],
)
def test_anything_else_is_an_error_that_names_the_option(address: str) -> None:
    with pytest.raises(OptionError, match=r"^--server: .* expected HOST:PORT") as caught:
        parse_address(address, option="--server")
    assert caught.value.field == "--server"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.8.7", "::1", "localhost"])
def test_an_address_that_no_other_machine_reaches_is_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "2001:db8::1", "nosuch.invalid"])
def test_any_other_address_is_not_loopback(host: str) -> None:
    assert not is_loopback(host)
