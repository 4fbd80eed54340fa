"""Bearer tokens: how they are written, and how one is recognised."""

import hmac
import re
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from lvseg.errors import OptionError
from lvseg_serve.private_files import read_secret

TOKEN_FILE = "--token-file"  # noqa: S105 - the option's name
MIN_LENGTH = 32
"""Characters: 128 bits where they are hexadecimal, which nobody guesses over a network."""
MAX_LENGTH = 1024
"""Characters; gRPC refuses a call whose headers exceed 8 KiB."""

_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, section 2.1


class TokenSet:
    """Tokens that open the server. Of each it keeps the SHA-256 alone."""

    def __init__(self, tokens: Iterable[str]) -> None:
        self._digests = [_digest(token) for token in tokens]

    def __contains__(self, token: str) -> bool:
        """Whether a token is one of them, in a time that does not depend on which, or on how much of it is right."""
        digest = _digest(token)
        # A list and no generator: any() would stop at the first that is equal.
        return any([hmac.compare_digest(digest, known) for known in self._digests])  # noqa: C419


def read_tokens(path: Path) -> tuple[str, ...]:
    """Return the tokens of a file: one a line; empty lines and those that begin with ``#`` are none.

    Raises:
        OptionError: If the file cannot be read, is for everybody's eyes, or holds no token or one that is none.
    """
    text = read_secret(path, option=TOKEN_FILE).decode("ascii", errors="replace")
    tokens = []
    for number, line in enumerate(map(str.strip, text.splitlines()), start=1):
        if line and not line.startswith("#"):
            check_token(line, where=f"line {number} of {path}")
            tokens.append(line)
    if not tokens:
        raise OptionError(
            f"{path} holds no token; expected one a line, such as 'openssl rand -hex 32' makes",
            reason="NO_TOKEN",
            field=TOKEN_FILE,
        )
    return tuple(tokens)


def read_token(path: Path) -> str:
    """Return the one token of a client's file.

    Raises:
        OptionError: As :func:`read_tokens`, or if there are several.
    """
    tokens = read_tokens(path)
    if len(tokens) > 1:
        raise OptionError(
            f"{path} holds {len(tokens)} tokens; expected the one of this client",
            reason="SEVERAL_TOKENS",
            field=TOKEN_FILE,
            expected="one token",
        )
    return tokens[0]


def check_token(token: str, *, where: str) -> None:
    """Check that a token is long enough and can be sent.

    Args:
        token: The token; no error shows it.
        where: Where it stands, for the error.

    Raises:
        OptionError: If it is not.
    """
    if not (MIN_LENGTH <= len(token) <= MAX_LENGTH and _TOKEN.fullmatch(token)):
        raise OptionError(
            f"{where} is no token: expected {MIN_LENGTH} to {MAX_LENGTH} letters, digits and -._~+/, "
            f"such as 'openssl rand -hex 32' makes, found {len(token)} characters",
            reason="BAD_TOKEN",
            field=TOKEN_FILE,
            expected=f"{MIN_LENGTH} to {MAX_LENGTH} characters",
        )


def _digest(token: str) -> bytes:
    return sha256(token.encode()).digest()
