"""Addresses as people type them."""

import re
import socket
from ipaddress import ip_address

from lvseg.errors import OptionError

_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/\[\]]+)):(?P<port>[0-9]{1,5})")


def parse_address(address: str, *, option: str) -> tuple[str, int]:
    """Return the host and port of ``HOST:PORT``; an IPv6 host stands in brackets.

    Args:
        address: What was typed.
        option: The option that it was typed for, such as ``"--listen"``.

    Raises:
        OptionError: If the address is not of that form.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > 65535:
        raise OptionError(
            f"{option}: {address!r} is not an address; expected HOST:PORT such as 127.0.0.1:50051",
            reason="BAD_ADDRESS",
            field=option,
            expected="HOST:PORT",
        )
    return match["ipv6"] or match["host"], int(match["port"])


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone: every address that its name stands for is a loopback address.

    A name that stands for none is not.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ip_address(str(where[0]).partition("%")[0]).is_loopback for *_, where in found)
