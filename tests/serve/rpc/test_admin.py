"""The real admin service, on a loopback port, called by its client and its command."""

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lvseg.errors import InputError, ServerError
from lvseg_export.bundle import load_bundle
from lvseg_serve.admin_options import Admin
from lvseg_serve.canary import CanaryWatch
from lvseg_serve.client.admin import AdminClient
from lvseg_serve.client.admin_cli import main
from lvseg_serve.client.security import Tls
from lvseg_serve.models import LoadedModel, Models
from lvseg_serve.operations import Operations
from lvseg_serve.rpc.admin import running_admin
from lvseg_serve.rpc.connections import ConnectionLimits
from lvseg_serve.rpc.guard import to_guard
from lvseg_serve.security_options import Security
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.state import ServerState
from tests.serve.loading import LOADER
from tests.serve.rpc.conftest import wait_until_sent_away


@pytest.fixture
def first(tmp_path: Path, make_threshold_bundle: Callable[..., Path]) -> LoadedModel:
    return LOADER.load(load_bundle(make_threshold_bundle(tmp_path / "a", version="a")))


@pytest.fixture
def state(first: LoadedModel) -> ServerState:
    return ServerState(first.info, serving=False)


@pytest.fixture
async def operations(
    tmp_path: Path, make_threshold_bundle: Callable[..., Path], first: LoadedModel, state: ServerState
) -> AsyncIterator[Operations]:
    """Of a server with the model a, beside which lie b and one that fails the gate."""
    make_threshold_bundle(tmp_path / "b", version="b", limit=2000)
    make_threshold_bundle(tmp_path / "wrong", version="w", trained_limit=2000)
    segmenter = Segmenter(first.engine, model=first.info.model, working_spacing_mm=1.5)
    models = Models(segmenter, state, LOADER, first, bundles=tmp_path)
    watch = CanaryWatch(segmenter, lambda: models.current.canary, state)
    await watch.ask()
    yield Operations(models, segmenter, state, watch)
    await segmenter.close()


@pytest.fixture
async def address(operations: Operations) -> AsyncIterator[str]:
    async with running_admin(operations, listen="127.0.0.1:0") as address:
        yield address


@pytest.fixture
def client(address: str) -> AdminClient:
    return AdminClient(address)


async def test_the_status_tells_how_the_server_is(client: AdminClient, tmp_path: Path) -> None:
    status = await asyncio.to_thread(client.status)
    assert (status.model.name, status.model.version, status.bundle) == ("threshold", "a", str(tmp_path / "a"))
    assert (status.former_model, status.pending, status.queued) == (None, 0, 0)
    assert (status.serving, status.why_not_serving) == (True, "")
    assert (status.canaries_passed, status.canaries_failed_in_a_row) == (1, 0)
    assert status.uptime_s > 0
    assert status.workers > 0


async def test_a_swap_and_the_way_back(client: AdminClient) -> None:
    swapped = await asyncio.to_thread(client.swap, "b")
    assert [model.version for model in swapped] == ["b", "a"]
    assert (await asyncio.to_thread(client.status)).former_model == swapped.former_model
    back = await asyncio.to_thread(client.roll_back)
    assert [model.version for model in back] == ["a", "b"]


async def test_a_bundle_that_does_not_pass_is_refused_with_the_reason(client: AdminClient) -> None:
    with pytest.raises(
        ServerError, match=r"onnxruntime-cpu \(fp32\) differs from the trained model"
    ) as caught:
        await asyncio.to_thread(client.swap, "wrong")
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "ENGINE")


async def test_a_bundle_that_is_none_is_refused_with_the_reason(client: AdminClient) -> None:
    with pytest.raises(ServerError, match="is not a bundle") as caught:
        await asyncio.to_thread(client.swap, "nothing")
    assert (caught.value.code, caught.value.reason) == ("FAILED_PRECONDITION", "NOT_A_BUNDLE")


async def test_a_bundle_from_elsewhere_is_an_invalid_argument(client: AdminClient) -> None:
    with pytest.raises(InputError) as caught:
        await asyncio.to_thread(client.swap, "/etc")
    assert caught.value.reason == "BUNDLE_REFUSED"


async def _command(address: str, *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "--server", address])


async def test_the_command_swaps_rolls_back_and_tells(address: str) -> None:
    a, b = (f"threshold {version} (fp32, onnxruntime-cpu)" for version in "ab")
    swapped = await _command(address, "swap", "b")
    assert (swapped.exit_code, swapped.output) == (0, f"{b} answers now; {a} can be rolled back to\n")
    back = await _command(address, "rollback")
    assert (back.exit_code, back.output) == (0, f"{a} answers now; {b} can be rolled back to\n")
    status = (await _command(address, "status")).output
    assert f"former model: {b}\nhealth: SERVING\ncanaries: 1 passed, 0 failed" in status


async def test_the_exit_code_tells_that_the_server_is_not_well(address: str, state: ServerState) -> None:
    await state.turn("the engine is blind")
    result = await _command(address, "status")
    assert result.exit_code == 1
    assert "health: NOT_SERVING: the engine is blind\n" in result.output


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["swap", "wrong"], 1, "differs from the trained model"),
        (["swap", "/etc"], 2, "--bundles"),
        (["rollback"], 2, "no former model"),
        (["swap"], 2, "swap takes a BUNDLE"),
        (["status", "b"], 2, "status takes no BUNDLE"),
    ],
)
async def test_a_command_that_is_refused_is_one_line(
    address: str, arguments: list[str], code: int, message: str
) -> None:
    result = await _command(address, *arguments)
    assert result.exit_code == code
    assert result.output.startswith("error: ")
    assert message in result.output
    assert result.output.count("\n") == 1


async def test_who_connects_and_says_nothing_is_sent_away(operations: Operations) -> None:
    limits = ConnectionLimits(handshake_s=0.2)
    async with running_admin(operations, listen="127.0.0.1:0", connections=limits) as address:
        await wait_until_sent_away(address)


async def test_an_operators_connection_takes_as_many_calls_as_every_callers(address: str) -> None:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    )  # preface, empty SETTINGS
    async with asyncio.timeout(60):
        length, kind = struct.unpack(">IB", b"\0" + (await reader.readexactly(9))[:4])
        settings = dict(struct.iter_unpack(">HI", await reader.readexactly(length)))
    assert (kind, settings[3]) == (4, 100)  # SETTINGS_MAX_CONCURRENT_STREAMS (RFC 9113, section 6.5.2)
    writer.close()
    await writer.wait_closed()


async def test_with_tls_an_operator_needs_a_certificate_of_the_operators_authority(
    operations: Operations, authority: Any, ca: Path, tmp_path: Path
) -> None:
    certificate, key = authority.issue(tmp_path, "server", "127.0.0.1")
    security = Security(
        tls_certificate=certificate, tls_key=key, tls_client_ca=None, token_file=None, insecure=False
    )
    credentials = to_guard(security, Admin(admin="127.0.0.1:0", admin_client_ca=ca)).admin_credentials
    certificate, key = authority.issue(tmp_path, "operator", "operator")
    async with running_admin(operations, listen="127.0.0.1:0", credentials=credentials) as address:
        with AdminClient(address, tls=Tls(ca=ca, certificate=certificate, key=key)) as operator:
            assert (await asyncio.to_thread(operator.status)).serving
        with AdminClient(address, tls=Tls(ca=ca)) as stranger, pytest.raises(ServerError):
            await asyncio.to_thread(stranger.status)
