from pathlib import Path

import pytest

from lvseg.errors import OptionError
from lvseg_serve.admin_options import Admin
from lvseg_serve.security_options import Security

PLAIN = Security(tls_certificate=None, tls_key=None, tls_client_ca=None, token_file=None, insecure=False)
TLS = Security(
    tls_certificate=Path("pem"), tls_key=Path("key"), tls_client_ca=None, token_file=None, insecure=False
)
CA = Path("operators.pem")


@pytest.mark.parametrize(
    ("admin", "security"),
    [
        (Admin(), PLAIN),
        (Admin(admin="127.0.0.1:50052"), PLAIN),
        (Admin(admin="[::1]:50052"), PLAIN),
        (Admin(admin="0.0.0.0:50052", admin_client_ca=CA), TLS),
    ],
)
def test_this_machine_and_known_operators_may_administer(admin: Admin, security: Security) -> None:
    admin.check(security)


@pytest.mark.parametrize(
    ("admin", "security", "reason"),
    [
        (Admin(admin="0.0.0.0:50052"), PLAIN, "ADMIN_OPEN"),
        (Admin(admin="0.0.0.0:50052"), TLS, "ADMIN_OPEN"),
        (Admin(admin="0.0.0.0:50052", admin_client_ca=CA), PLAIN, "CONTRADICTION"),
        (Admin(bundles=Path("/srv")), PLAIN, "CONTRADICTION"),
        (Admin(admin_client_ca=CA), TLS, "CONTRADICTION"),
        (Admin(admin="127.0.0.1:50052", bundles=Path("/no/such/folder")), PLAIN, "NO_FOLDER"),
        (Admin(admin="50052"), PLAIN, "BAD_ADDRESS"),
    ],
)
def test_whoever_else_may_not(admin: Admin, security: Security, reason: str) -> None:
    with pytest.raises(OptionError) as caught:
        admin.check(security)
    assert caught.value.reason == reason
