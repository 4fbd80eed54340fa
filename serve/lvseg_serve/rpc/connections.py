"""What one connection may ask of the server and its admin service. How many there are, the network has to limit."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ConnectionLimits:
    """Limits of each connection."""

    streams: int = 100
    """Calls at a time; further ones wait at the caller. HTTP/2 asks for no fewer (RFC 9113, section 6.5.2), and it is
    more than the slices that a server takes by default, so that one caller too is told when the server is busy."""
    handshake_s: float = 10.0
    """From a TCP connection to its first HTTP/2 frame, TLS included: who connects and says nothing holds a socket
    no longer. gRPC's own 120 s would let a few hundred of them fill the process's files."""
    idle_s: float = 15 * 60.0
    """Without a call. A client connects again with its next call, which it need not know."""
    age_s: float = 60 * 60.0
    """A connection is then replaced, so that a certificate or an authority that was withdrawn ends with it, and
    callers spread anew over servers behind one name."""
    age_grace_s: float = 5 * 60.0
    """For the calls under way at that age: far more than one slice takes."""
    ping_after_s: float = 60.0
    """Silence after which the server asks whether the other end still lives: a cable that was pulled says nothing."""
    ping_timeout_s: float = 20.0
    """For the answer; then the connection is closed."""
    least_ping_interval_s: float = 30.0
    """A client that pings more often while nothing is said..."""
    ping_strikes: int = 2
    """...this often is sent away: pings cost it nothing and the server a wake-up each."""

    def options(self) -> list[tuple[str, int]]:
        """Return them as gRPC's channel options."""
        return [
            ("grpc.max_concurrent_streams", self.streams),
            ("grpc.server_handshake_timeout_ms", _ms(self.handshake_s)),
            ("grpc.max_connection_idle_ms", _ms(self.idle_s)),
            ("grpc.max_connection_age_ms", _ms(self.age_s)),
            ("grpc.max_connection_age_grace_ms", _ms(self.age_grace_s)),
            ("grpc.keepalive_time_ms", _ms(self.ping_after_s)),
            ("grpc.keepalive_timeout_ms", _ms(self.ping_timeout_s)),
            ("grpc.http2.min_ping_interval_without_data_ms", _ms(self.least_ping_interval_s)),
            ("grpc.http2.max_ping_strikes", self.ping_strikes),
        ]


def _ms(seconds: float) -> int:
    return round(seconds * 1e3)
