"""What both clients tell gRPC about their channel."""


def channel_options(max_message_mib: int) -> list[tuple[str, int]]:
    """Return the options of a channel whose messages may be of ``max_message_mib`` MiB in both directions."""
    return [
        ("grpc.max_send_message_length", max_message_mib * 2**20),
        ("grpc.max_receive_message_length", max_message_mib * 2**20),
        # Patients' slices take no detour that an environment variable names.
        ("grpc.enable_http_proxy", 0),
    ]
