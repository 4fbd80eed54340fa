"""Parameters of Triton's that ask for what this server does not do: refused by name rather than passed over."""

from collections.abc import Iterable

from lvseg.errors import InputError

_REFUSED = {
    "shared_memory_region": "send the values in the message",
    "shared_memory_byte_size": "send the values in the message",
    "shared_memory_offset": "send the values in the message",
    "classification": "ask for the tensor itself",
    "sequence_id": "send each request for itself",
    "priority": "requests are answered in the order in which they came",
    "timeout": "give the call a deadline",
}


def refuse_parameters(where: str, names: Iterable[str]) -> None:
    """Check that no parameter is one of those; others are optional by the protocol and mean nothing here.

    Args:
        where: What they came with, such as ``"input 'pixels'"``.
        names: Theirs.

    Raises:
        InputError: Naming the first that is.
    """
    for name in sorted(names):
        if name in _REFUSED:
            raise InputError(
                f"{where} came with the parameter {name!r}, which is not supported here; {_REFUSED[name]}",
                reason="UNSUPPORTED_PARAMETER",
                field=name,
                expected=f"no parameter {name}",
            )
