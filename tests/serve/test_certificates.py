from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from lvseg.errors import OptionError
from lvseg_serve.certificates import read_authorities, read_identity

Put = Callable[[Path, bytes], None]


@pytest.fixture
def pair(authority: Any, tmp_path: Path) -> tuple[Path, Path]:
    return authority.issue(tmp_path, "server", "localhost")


def _reason(certificate: Path, key: Path, says: str) -> tuple[str, str]:
    with pytest.raises(OptionError, match=says) as caught:
        read_identity(certificate, key)
    return caught.value.reason, caught.value.field


def test_a_certificate_and_its_key_are_read_as_they_are(pair: tuple[Path, Path]) -> None:
    assert read_identity(*pair) == (pair[0].read_bytes(), pair[1].read_bytes())


def test_a_certificate_may_be_followed_by_its_authoritys(pair: tuple[Path, Path], authority: Any) -> None:
    pair[0].write_bytes(pair[0].read_bytes() + authority.pem)
    assert read_identity(*pair).certificate.endswith(authority.pem)


def test_the_ends_own_certificate_comes_first(pair: tuple[Path, Path], authority: Any) -> None:
    pair[0].write_bytes(authority.pem + pair[0].read_bytes())
    says = "whose first certificate has to be the end's own"
    assert _reason(*pair, says) == ("KEY_MISMATCH", "--tls-key")


def test_a_key_of_another_certificate_is_refused(
    pair: tuple[Path, Path], authority: Any, tmp_path: Path
) -> None:
    _, key = authority.issue(tmp_path, "other", "localhost")
    assert _reason(pair[0], key, r"other\.key is not the key of .*server\.pem") == (
        "KEY_MISMATCH",
        "--tls-key",
    )


@pytest.mark.parametrize(
    ("days", "reason", "says"),
    [
        ((-3, -1), "CERTIFICATE_EXPIRED", r"expired on \d{4}-\d\d-\d\d \d\d:\d\d UTC; have a new"),
        ((1, 3), "CERTIFICATE_NOT_YET_VALID", r"is valid from .* UTC on; check this machine's clock"),
    ],
)
def test_a_certificate_that_is_not_valid_now_is_refused(
    authority: Any, tmp_path: Path, days: tuple[int, int], reason: str, says: str
) -> None:
    pair = authority.issue(tmp_path, "server", "localhost", days=days)
    assert _reason(*pair, says) == (reason, "--tls-certificate")


def test_files_that_are_missing_are_refused(pair: tuple[Path, Path], tmp_path: Path) -> None:
    says = r"nosuch cannot be read \(No such file or directory\)"
    assert _reason(tmp_path / "nosuch", pair[1], says) == ("UNREADABLE_FILE", "--tls-certificate")
    assert _reason(pair[0], tmp_path / "nosuch", says) == ("UNREADABLE_FILE", "--tls-key")


def test_files_that_are_not_pem_are_refused(pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    assert _reason(key, key, "holds no certificate in PEM") == ("NOT_PEM", "--tls-certificate")
    key.write_bytes(certificate.read_bytes())
    assert _reason(certificate, key, "holds no private key in PEM") == ("NOT_PEM", "--tls-key")


def test_an_encrypted_key_is_refused(pair: tuple[Path, Path]) -> None:
    key = serialization.load_pem_private_key(pair[1].read_bytes(), None)
    pair[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"passphrase"),
        )
    )
    assert _reason(*pair, "is encrypted; expected a key without a passphrase")[0] == "ENCRYPTED_KEY"


def test_a_key_for_everybodys_eyes_is_refused(pair: tuple[Path, Path]) -> None:
    pair[1].chmod(0o644)
    assert _reason(*pair, r"mode 0644\); run: chmod 600")[0] == "PUBLIC_SECRET"


def test_authorities_of_which_one_is_valid_are_read(
    authority: Any, other_authority: Any, tmp_path: Path
) -> None:
    old, _ = authority.issue(tmp_path, "old", days=(-3, -1))
    both = tmp_path / "both.pem"
    both.write_bytes(old.read_bytes() + other_authority.pem)
    assert read_authorities(both, option="--tls-ca") == both.read_bytes()
    with pytest.raises(OptionError, match="holds no authority that is still valid: the last expired on"):
        read_authorities(old, option="--tls-ca")


def test_a_file_without_an_authority_names_its_option(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("hello")
    with pytest.raises(OptionError, match=r"ca\.pem holds no certificate in PEM") as caught:
        read_authorities(tmp_path / "ca.pem", option="--tls-client-ca")
    assert caught.value.field == "--tls-client-ca"
