import socket
from pathlib import Path

from click.testing import CliRunner, Result

from lvseg_serve.cli import main

EXAMPLE = Path(__file__).parents[2] / "docs/lvseg-serve.toml"
ANYWHERE = "127.0.0.1:0"


def _check(*arguments: object) -> Result:
    return CliRunner().invoke(main, [*map(str, arguments), "--check"])


def test_the_example_file_passes() -> None:
    # But for its ports, which may be another's on the machine of a test.
    result = _check("--config", EXAMPLE, "--listen", ANYWHERE, "--admin", ANYWHERE, "--metrics", ANYWHERE)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "ok      security",
        "ok      capacity",
        "ok      protocols",
        "ok      log and metrics",
        "ok      model",
        "ok      --listen",
        "ok      --admin",
    ]
    assert "2 workers, 64 slices pending" in lines[1]
    assert "(fp32, onnxruntime-cpu)" in lines[4]


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        result = _check(tmp_path, "--listen", address, "--token-file", tmp_path / "none")
    assert result.exit_code == 2
    failed = {line.split(":")[0]: line for line in result.stdout.splitlines() if line.startswith("failed")}
    assert list(failed) == ["failed  security", "failed  model", "failed  --listen"]
    assert "none" in failed["failed  security"]
    assert "is not a bundle" in failed["failed  model"]
    assert "Address already in use" in failed["failed  --listen"]
