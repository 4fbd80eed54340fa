"""Each room imports only from those before it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "lvseg": ROOT / "lvseg",
    "lvseg_export": ROOT / "export/lvseg_export",
    "lvseg_serve": ROOT / "serve/lvseg_serve",
}
TORCH = {"lvseg/models", "lvseg/train", "lvseg/data/dataset.py"}


def imports(path: Path) -> Iterator[str]:
    """Yield every module that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module


def packages(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


def files(folder: Path) -> list[Path]:
    found = sorted(folder.rglob("*.py"))
    assert found
    return found


@pytest.mark.parametrize(
    ("room", "later"),
    [("lvseg", {"lvseg_export", "lvseg_serve", "lvseg_api"}), ("lvseg_export", {"lvseg_serve", "lvseg_api"})],
)
def test_no_room_imports_a_later_one(room, later):
    assert not [path for path in files(ROOMS[room]) if packages(path) & later]


def test_torch_stays_where_networks_are():
    strays = [
        path
        for path in files(ROOMS["lvseg"])
        if packages(path) & {"torch", "lightning", "monai"}
        and not any(path.is_relative_to(ROOT / place) for place in TORCH)
    ]
    assert not strays


def test_nothing_of_the_server_imports_torch_or_the_training():
    forbidden = {"torch", "lightning", "monai"}
    strays = [
        path
        for path in files(ROOMS["lvseg_serve"])
        if packages(path) & forbidden
        or any(name.startswith(("lvseg.train", "lvseg.models")) for name in imports(path))
    ]
    assert not strays


def test_grpc_is_known_to_the_server_and_the_client_alone():
    serve = ROOMS["lvseg_serve"]
    strays = [
        path
        for path in files(serve)
        if packages(path) & {"grpc", "google", "lvseg_api"}
        and not {"rpc", "client"} & set(path.relative_to(serve).parts)
    ]
    assert not strays
