from collections.abc import Callable
from pathlib import Path

import pytest

from lvseg.errors import OptionError
from lvseg_serve.tokens import TokenSet, read_token, read_tokens

ONE, OTHER = "a" * 32, "B0-._~+/" * 5 + "=="
Put = Callable[[Path, bytes], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tokens"


def test_a_file_holds_a_token_a_line_between_comments(path: Path, put: Put) -> None:
    put(path, f"# ward 3\n{ONE}\n\n   {OTHER}  \r\n  # ward 4".encode())
    assert read_tokens(path) == (ONE, OTHER)


@pytest.mark.parametrize(
    ("content", "reason", "says"),
    [
        (b"", "NO_TOKEN", "holds no token; expected one a line"),
        (b"# none\n", "NO_TOKEN", "holds no token"),
        (b"a" * 31, "BAD_TOKEN", r"line 1 of .*tokens is no token: .* found 31 characters"),
        (b"a" * 1025, "BAD_TOKEN", "found 1025 characters"),
        (b"a" * 32 + b"\n" + b"secret word " * 4, "BAD_TOKEN", "line 2 of"),
        (b"\xff" * 40, "BAD_TOKEN", "line 1 of"),
    ],
)
def test_a_file_without_tokens_or_with_one_that_is_none_is_refused(
    path: Path, put: Put, content: bytes, reason: str, says: str
) -> None:
    put(path, content)
    with pytest.raises(OptionError, match=says) as caught:
        read_tokens(path)
    assert (caught.value.reason, caught.value.field) == (reason, "--token-file")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o602, 0o666])
def test_a_file_that_everybody_may_read_or_write_is_refused(path: Path, put: Put, mode: int) -> None:
    put(path, ONE.encode())
    path.chmod(mode)
    with pytest.raises(OptionError, match=rf"mode {mode:04o}\); run: chmod 600 {path}") as caught:
        read_tokens(path)
    assert caught.value.reason == "PUBLIC_SECRET"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640])
def test_a_file_for_its_owner_or_group_is_read(path: Path, put: Put, mode: int) -> None:
    put(path, ONE.encode())
    path.chmod(mode)
    assert read_tokens(path) == (ONE,)


def test_a_file_that_is_not_there_is_an_option_error(path: Path) -> None:
    with pytest.raises(
        OptionError, match=r"tokens cannot be read \(No such file or directory\); --token-file"
    ):
        read_tokens(path)


def test_a_client_has_one_token(path: Path, put: Put) -> None:
    put(path, f"{ONE}\n{OTHER}\n".encode())
    with pytest.raises(OptionError, match="holds 2 tokens; expected the one of this client"):
        read_token(path)


def test_a_set_knows_its_tokens_and_no_others() -> None:
    tokens = TokenSet([ONE, OTHER])
    assert ONE in tokens
    assert OTHER in tokens
    assert not any(token in tokens for token in ("", ONE[:-1], f"{ONE}a", ONE.upper(), "ü" * 32))


def test_a_set_keeps_no_token_that_a_dump_would_show() -> None:
    assert ONE.encode() not in repr(vars(TokenSet([ONE]))).encode()
