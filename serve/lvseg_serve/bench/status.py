"""The status code by which a call that failed is counted."""

from lvseg.errors import InputError, LvsegError, ServerError


def status_code(error: LvsegError) -> str:
    """Return the name of the gRPC status code of an error that a client or an engine raised."""
    if isinstance(error, ServerError) and error.code:
        return error.code
    # The client turns INVALID_ARGUMENT into the input's own error; whatever else fails has no status.
    return "INVALID_ARGUMENT" if isinstance(error, InputError) else "INTERNAL"
