"""What a service manager is told: systemd's protocol of ``sd_notify``, datagrams to a socket that it names."""

import os
import socket
from enum import StrEnum


class Notice(StrEnum):
    """What it may be told."""

    READY = "READY=1"
    STOPPING = "STOPPING=1"


def notify(notice: Notice) -> None:
    """Tell the service manager, if there is one (``NOTIFY_SOCKET``).

    Raises:
        OSError: If there is one, and it does not listen.
    """
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            # A name that begins with @ is one of Linux's abstract names, which begin with a zero byte.
            manager.sendto(notice.encode(), "\0" + address[1:] if address.startswith("@") else address)
