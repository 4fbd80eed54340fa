"""The least of HTTP/2 that it takes to be a bad caller, or a server that turns callers away.

Bytes on a socket, without a library that would do it right.
"""

import socket
import struct

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7
_END_STREAM, _END_HEADERS, _ACK = 1, 4, 1
_REFUSED_STREAM = 7


def connect(address: str) -> socket.socket:
    """Return a socket to a server that was greeted, and no more."""
    host, port = address.rsplit(":", 1)
    connection = socket.create_connection((host, int(port)), timeout=30)
    connection.sendall(_PREFACE + _frame(_SETTINGS, 0, 0, b""))
    return connection


def begin_call(connection: socket.socket, method: str) -> None:
    """Send the headers of a call."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "test",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    block = b"".join(_literal(name, value) for name, value in headers.items())
    connection.sendall(_frame(_HEADERS, _END_HEADERS, 1, block))


def send_part(connection: socket.socket, message: bytes, size: int, *, last: bool = False) -> None:
    """Send the beginning of a message that says that it has ``size`` bytes; all of it where it is the ``last``."""
    data = struct.pack(">BI", 0, size) + message
    connection.sendall(_frame(_DATA, _END_STREAM if last else 0, 1, data))


def ends_with_trailers(connection: socket.socket) -> bool:
    """Read frames until the call is answered; tell whether by headers, as a server does that understood it."""
    with connection.makefile("rb") as stream:
        while len(head := stream.read(9)) == 9:
            kind, flags = head[3], head[4]
            stream.read(int.from_bytes(head[:3], "big"))
            if kind in (_HEADERS, _RST_STREAM, _GOAWAY) and (kind != _HEADERS or flags & _END_STREAM):
                return kind == _HEADERS
    return False


def refuse_calls(connection: socket.socket, refused: list[int]) -> None:
    """Turn away each call of a caller before anything of it is done, and note its number, until either end hangs up."""
    with connection, connection.makefile("rb") as stream:
        stream.read(len(_PREFACE))
        connection.sendall(_frame(_SETTINGS, 0, 0, b"") + _frame(_SETTINGS, _ACK, 0, b""))
        while len(head := stream.read(9)) == 9:
            stream.read(int.from_bytes(head[:3], "big"))
            if head[3] == _HEADERS:
                number = int.from_bytes(head[5:], "big")
                connection.sendall(_frame(_RST_STREAM, 0, number, struct.pack(">I", _REFUSED_STREAM)))
                refused.append(number)


def hang_up(connection: socket.socket) -> None:
    """Hang up on a caller in the midst of the first message that it sends."""
    with connection, connection.makefile("rb") as stream:
        stream.read(len(_PREFACE))
        connection.sendall(_frame(_SETTINGS, 0, 0, b"") + _frame(_SETTINGS, _ACK, 0, b""))
        while len(head := stream.read(9)) == 9 and head[3] != _DATA:
            stream.read(int.from_bytes(head[:3], "big"))


def _literal(name: str, value: str) -> bytes:
    """Return a header that is in no table, as RFC 7541, 6.2.2 has it."""
    return b"\x00" + b"".join(bytes([len(text)]) + text.encode() for text in (name, value))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload
