"""What both clients tell gRPC about their channel and their calls."""

from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from lvseg_serve.client.security import Access, call_metadata, channel_credentials

_FIRST_PAUSE_MS, _LONGEST_PAUSE_MS = 200, 500
_LONGEST_ATTEMPT_MS = 5000


@dataclass(frozen=True, kw_only=True)
class ChannelSettings:
    """What a channel and its calls are made with."""

    options: Sequence[tuple[str, str | int]]
    credentials: grpc.ChannelCredentials | None
    """``None``: plain text."""
    metadata: tuple[tuple[str, str], ...]
    """Headers of each call."""


def open_channel(address: str, settings: ChannelSettings) -> grpc.Channel:
    """Return a channel for ordinary code; the connection is made with the first call."""
    if settings.credentials is None:
        return grpc.insecure_channel(address, settings.options)
    return grpc.secure_channel(address, settings.credentials, settings.options)


def channel_settings(address: str, max_message_mib: int, access: Access) -> ChannelSettings:
    """Return how to call a server.

    Args:
        address: ``HOST:PORT`` of the server.
        max_message_mib: Largest message in both directions, in MiB.
        access: What the client is let in with.

    Raises:
        OptionError: If a file of TLS or the token cannot be used.
    """
    options: list[tuple[str, str | int]] = [
        ("grpc.max_send_message_length", max_message_mib * 2**20),
        ("grpc.max_receive_message_length", max_message_mib * 2**20),
        # Patients' slices take no detour that an environment variable names.
        ("grpc.enable_http_proxy", 0),
        # A server that is back is found within a second; by default the pauses grow to two minutes.
        ("grpc.initial_reconnect_backoff_ms", _FIRST_PAUSE_MS),
        ("grpc.max_reconnect_backoff_ms", _LONGEST_PAUSE_MS),
        # Whatever its name says, for how long one attempt may go on: what listens there may be no server of ours.
        ("grpc.min_reconnect_backoff_ms", _LONGEST_ATTEMPT_MS),
    ]
    if access.tls is not None and access.tls.server_name is not None:
        options.append(("grpc.ssl_target_name_override", access.tls.server_name))
    return ChannelSettings(
        options=options,
        credentials=None if access.tls is None else channel_credentials(access.tls),
        metadata=call_metadata(address, access),
    )
