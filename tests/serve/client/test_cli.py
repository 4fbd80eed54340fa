"""lvseg-segment against a real server."""

import csv
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numpy.typing import NDArray
from PIL import Image

from lvseg.contour import format_contour, read_contour
from lvseg_export.engines.base import Engine
from lvseg_serve.client.cli import main
from lvseg_serve.png import decode_mask
from lvseg_serve.rpc.authentication import TokenInterceptor
from lvseg_serve.rpc.credentials import ServerTls, server_credentials


@pytest.fixture
def images(tmp_path: Path, dicom: bytes, make_dicom: Callable[..., bytes]) -> Path:
    """Two cases with a file of the same name each; the threshold engine finds something in the first alone."""
    for case, content in (("SC-HF-I-1", dicom), ("SC-HF-I-2", make_dicom(np.full((64, 72), 100)))):
        folder = tmp_path / "images" / case
        folder.mkdir(parents=True)
        (folder / "IM-0004-0001.dcm").write_bytes(content)
    return tmp_path / "images"


@pytest.fixture
def contours(tmp_path: Path, contour: NDArray[np.float64]) -> Path:
    """A contour for the first case."""
    path = tmp_path / "contours" / "SC-HF-I-1" / "IM-0001-0001-icontour-manual.txt"
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{x} {y}\n" for x, y in contour))
    return tmp_path / "contours"


@pytest.fixture
def segment(server: str, tmp_path: Path) -> Callable[..., Result]:
    """Run the command against the server, with ``out`` as the folder for the results."""

    def segment(*arguments: object) -> Result:
        command = [*map(str, arguments), "--server", server, "--out", str(tmp_path / "out")]
        return CliRunner().invoke(main, command)

    return segment


def _table(out: Path) -> list[dict[str, str]]:
    with (out / "segmentation.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _one_line(result: Result, exit_code: int) -> str:
    """Return the error of a command that printed one and nothing else on standard error."""
    assert result.exit_code == exit_code, result.output
    (line,) = (line for line in result.stderr.splitlines() if line.startswith("error: "))
    assert "Traceback" not in result.output
    return line


def test_each_slice_has_its_results_under_its_own_name(
    segment: Callable[..., Result], images: Path, tmp_path: Path, ventricle: NDArray[np.bool_]
) -> None:
    result = segment(images)
    assert result.exit_code == 0, result.output
    out = tmp_path / "out"
    files = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    assert files == [
        "SC-HF-I-1/IM-0004-0001.contour.txt",
        "SC-HF-I-1/IM-0004-0001.mask.png",
        "SC-HF-I-1/IM-0004-0001.overlay.png",
        "SC-HF-I-2/IM-0004-0001.mask.png",
        "SC-HF-I-2/IM-0004-0001.overlay.png",
        "segmentation.csv",
    ]
    np.testing.assert_array_equal(
        decode_mask((out / "SC-HF-I-1/IM-0004-0001.mask.png").read_bytes()), ventricle
    )
    assert len(read_contour(out / "SC-HF-I-1/IM-0004-0001.contour.txt")) == 80
    with Image.open(out / "SC-HF-I-1/IM-0004-0001.overlay.png") as picture:
        assert picture.mode == "RGB"


def test_the_table_has_a_dice_where_there_was_a_contour(
    segment: Callable[..., Result], images: Path, contours: Path, tmp_path: Path
) -> None:
    result = segment(images, "--contours", contours)
    assert result.exit_code == 0, result.output
    first, second = _table(tmp_path / "out")
    assert (first["file"], first["frame"], first["rows"], first["columns"]) == (
        "SC-HF-I-1/IM-0004-0001.dcm",
        "1",
        "64",
        "72",
    )
    assert (float(first["area_mm2"]), float(first["dice"]), first["good"]) == (900.0, 1.0, "true")
    assert (first["model"], first["engine"], first["status"]) == (
        "threshold 0123456789ab",
        "threshold-cpu fp32",
        "ok",
    )
    assert (second["dice"], second["apd_mm"], second["hausdorff_mm"], second["good"]) == ("", "", "", "")
    assert "mean Dice 1.0000 over the 1 with a contour" in result.stdout


def test_an_empty_mask_with_a_contour_has_a_dice_of_nought(
    segment: Callable[..., Result], images: Path, contours: Path, tmp_path: Path
) -> None:
    contour = contours / "SC-HF-I-1" / "IM-0001-0001-icontour-manual.txt"
    result = segment(images / "SC-HF-I-2", "--contour", contour)
    assert result.exit_code == 0, result.output
    (row,) = _table(tmp_path / "out")
    assert (float(row["dice"]), row["apd_mm"], row["good"]) == (0.0, "", "false")


def test_a_contour_that_looks_wrong_is_flagged_in_the_table_and_told(
    segment: Callable[..., Result], images: Path, tmp_path: Path, contour: NDArray[np.float64]
) -> None:
    moved = tmp_path / "moved.txt"
    moved.write_text(format_contour(contour + 10.0))
    result = segment(images / "SC-HF-I-1", "--contour", moved)
    assert result.exit_code == 0, result.output
    (row,) = _table(tmp_path / "out")
    assert row["flags"] == "other-place"
    assert "1 contour looks wrong (other-place 1), the first: IM-0004-0001.dcm" in result.stderr


def test_contours_of_a_series_that_all_lie_off_are_told(
    segment: Callable[..., Result], tmp_path: Path, dicom: bytes, contour: NDArray[np.float64]
) -> None:
    images, contours = tmp_path / "images/SC-HF-I-1", tmp_path / "contours/SC-HF-I-1"
    images.mkdir(parents=True)
    contours.mkdir(parents=True)
    for number in range(1, 6):
        (images / f"IM-0004-{number:04d}.dcm").write_bytes(dicom)
        off = format_contour(contour + np.array((2.0, 0.0)))  # pixels of 1.5 mm
        (contours / f"IM-0001-{number:04d}-icontour-manual.txt").write_text(off)
    result = segment(images, "--contours", contours)
    assert result.exit_code == 0, result.output
    assert [row["flags"] for row in _table(tmp_path / "out")] == [""] * 5
    assert "the contours of 1 of 1 series lie off the masks in one direction" in result.stderr
    assert "3.0 mm to the right and 0.0 mm up on average over 5 slices" in result.stderr


def test_one_bad_slice_is_one_row_and_the_rest_go_on(
    segment: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    (images / "SC-HF-I-1" / "IM-0004-0000.dcm").write_text("hello")
    line = _one_line(segment(images), exit_code=2)
    assert "1 of 3 slices failed; SC-HF-I-1/IM-0004-0000.dcm: " in line
    rows = _table(tmp_path / "out")
    assert [row["status"] for row in rows] == ["failed", "ok", "ok"]
    assert rows[0]["error"]
    assert rows[0]["dice"] == ""


def test_a_failing_server_gives_exit_code_1(
    serving: Callable[[Engine], AbstractContextManager[str]],
    failing_engine: Callable[[Exception], Engine],
    images: Path,
    tmp_path: Path,
) -> None:
    with serving(failing_engine(RuntimeError("broken"))) as address:
        command = [str(images), "--server", address, "--out", str(tmp_path / "out")]
        line = _one_line(CliRunner().invoke(main, command), exit_code=1)
    assert "2 of 2 slices failed" in line
    assert [row["status"] for row in _table(tmp_path / "out")] == ["failed", "failed"]


def test_a_broken_contour_is_its_slices_error(
    segment: Callable[..., Result], images: Path, contours: Path, tmp_path: Path
) -> None:
    (contours / "SC-HF-I-1" / "IM-0001-0001-icontour-manual.txt").write_text("1 2\nhello\n")
    _one_line(segment(images, "--contours", contours), exit_code=2)
    assert [row["status"] for row in _table(tmp_path / "out")] == ["failed", "ok"]


def test_no_server_is_one_line_and_leaves_nothing_behind(images: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        nowhere = f"127.0.0.1:{free.getsockname()[1]}"
    before = sorted(tmp_path.iterdir())
    command = [str(images), "--server", nowhere, "--out", str(tmp_path / "out")]
    assert f"no server at {nowhere}" in _one_line(CliRunner().invoke(main, command), exit_code=1)
    assert sorted(tmp_path.iterdir()) == before


def test_a_server_that_is_just_starting_is_waited_for_where_that_is_wanted(
    images: Path, tmp_path: Path, late: str
) -> None:
    command = [str(images), "--server", late, "--out", str(tmp_path / "out"), "--connect-s", "30"]
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, [row["status"] for row in _table(tmp_path / "out")]) == (0, ["ok", "ok"])


def test_former_results_stay_without_overwrite(
    segment: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    assert segment(images).exit_code == 0
    before = (tmp_path / "out" / "segmentation.csv").read_bytes()
    assert "--overwrite" in _one_line(segment(images / "SC-HF-I-2"), exit_code=2)
    assert (tmp_path / "out" / "segmentation.csv").read_bytes() == before


def test_overwrite_replaces_former_results(
    segment: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    assert segment(images).exit_code == 0
    assert segment(images / "SC-HF-I-2", "--overwrite").exit_code == 0
    assert len(_table(tmp_path / "out")) == 1
    assert not (tmp_path / "out" / "SC-HF-I-1").exists()


def test_a_folder_that_is_no_result_is_never_overwritten(
    segment: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    _one_line(segment(images, "--overwrite"), exit_code=2)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years of work"


def test_a_folder_without_dicom_is_one_line(segment: Callable[..., Result], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "empty holds no DICOM files" in _one_line(segment(tmp_path / "empty"), exit_code=2)


def test_a_path_that_does_not_exist_is_one_line(segment: Callable[..., Result], tmp_path: Path) -> None:
    assert "nothing: no such file or folder" in _one_line(segment(tmp_path / "nothing"), exit_code=2)


def test_contours_that_match_nothing_are_one_line(
    segment: Callable[..., Result], images: Path, contours: Path, tmp_path: Path
) -> None:
    shutil.rmtree(images / "SC-HF-I-1")
    _one_line(segment(images, "--contours", contours), exit_code=2)
    assert not (tmp_path / "out").exists()


def test_one_contour_is_for_one_slice(segment: Callable[..., Result], images: Path, contours: Path) -> None:
    contour = next(contours.rglob("*.txt"))
    assert "--contour is for one slice, 2 were named" in _one_line(
        segment(images, "--contour", contour), exit_code=2
    )


def test_a_contour_that_does_not_exist_is_one_line(
    segment: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    line = _one_line(segment(images / "SC-HF-I-1", "--contour", tmp_path / "nothing.txt"), exit_code=2)
    assert "nothing.txt" in line
    assert not (tmp_path / "out").exists()


def test_contours_and_contour_exclude_each_other(
    segment: Callable[..., Result], images: Path, contours: Path
) -> None:
    line = _one_line(segment(images, "--contours", contours, "--contour", contours), exit_code=2)
    assert "exclude each other" in line


def test_a_server_that_is_no_address_is_one_line(images: Path, tmp_path: Path) -> None:
    command = [str(images), "--server", "localhost", "--out", str(tmp_path / "out")]
    assert "--server: 'localhost' is not an address" in _one_line(
        CliRunner().invoke(main, command), exit_code=2
    )


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (["--local", "--server", "127.0.0.1:50051"], "leave out --server or --local"),
        (["--local", "--token-file", "tokens"], "leave out --token-file or --local"),
        (["--tls-certificate", "client.pem"], "--tls-certificate and --tls-key go with --tls-ca"),
        (["--tls-ca", "nosuch.pem"], "nosuch.pem cannot be read"),
        (["--local", "--timeout-s", "5"], "leave out --timeout-s or --local"),
        (["--bundle", "bundles/a"], "add --local"),
        (["--local", "--bundle", "nosuch"], "is not a bundle"),
    ],
)
def test_where_to_segment_is_one_place(images: Path, tmp_path: Path, options: list[str], remedy: str) -> None:
    result = CliRunner().invoke(main, [str(images), *options, "--out", str(tmp_path / "out")])
    assert remedy in _one_line(result, exit_code=2)
    assert not (tmp_path / "out").exists()


def test_a_frame_and_a_pixel_spacing_can_be_given(
    segment: Callable[..., Result],
    make_dicom: Callable[..., bytes],
    ventricle: NDArray[np.bool_],
    tmp_path: Path,
) -> None:
    frames = np.stack([np.full((64, 72), 100), np.where(ventricle, 1000, 100)])
    (tmp_path / "cine.dcm").write_bytes(make_dicom(frames, spacing=None))
    result = segment(tmp_path / "cine.dcm", "--frame", 2, "--pixel-spacing", 1.5, 1.5)
    assert result.exit_code == 0, result.output
    (row,) = _table(tmp_path / "out")
    assert (row["file"], row["frame"], float(row["area_mm2"])) == ("cine.dcm", "2", 900.0)


def test_tls_and_a_token_open_a_server(
    serving: Callable[..., AbstractContextManager[str]],
    engine: Engine,
    images: Path,
    authority: Any,
    ca: Path,
    tmp_path: Path,
    put: Callable[[Path, bytes], None],
) -> None:
    certificate, key = authority.issue(tmp_path, "server", "127.0.0.1")
    put(tmp_path / "tokens", b"0123456789abcdef" * 2)
    guarded = {
        "credentials": server_credentials(ServerTls(certificate=certificate, key=key)),
        "interceptors": [TokenInterceptor(tmp_path / "tokens")],
    }
    with serving(engine, guarded=guarded) as address:
        command = [str(images), "--server", address, "--out", str(tmp_path / "out"), "--tls-ca", str(ca)]
        refused = CliRunner().invoke(main, command)
        assert "lets nobody in without a token" in _one_line(refused, exit_code=1)
        result = CliRunner().invoke(main, [*command, "--token-file", str(tmp_path / "tokens")])
    assert result.exit_code == 0, result.output


def test_a_fault_of_tls_is_one_line_without_grpcs_own(
    server: str, images: Path, ca: Path, tmp_path: Path
) -> None:
    command = "from lvseg_serve.commands import segment; segment()"
    where = [str(images), "--server", server, "--tls-ca", str(ca), "--out", str(tmp_path / "out")]
    run = subprocess.run([sys.executable, "-c", command, *where], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr.startswith(f"error: the server at {server} is not trusted: it does not encrypt")
    assert len(run.stderr.splitlines()) == 1


def test_no_patient_data_is_printed_or_written_beside_the_pictures(
    segment: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    (images / "SC-HF-I-1" / "broken.dcm").write_bytes(
        (images / "SC-HF-I-1" / "IM-0004-0001.dcm").read_bytes()[:-100]
    )
    result = segment(images)
    assert b"Planted" in (images / "SC-HF-I-1" / "IM-0004-0001.dcm").read_bytes()
    assert "Planted" not in result.output
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert not any(b"Planted" in path.read_bytes() for path in written)


def test_a_file_that_is_named_twice_is_sent_once(
    segment: Callable[..., Result], images: Path, tmp_path: Path
) -> None:
    detour = images / "SC-HF-I-2" / ".." / "SC-HF-I-1"
    result = segment(images / "SC-HF-I-1", detour, detour / "IM-0004-0001.dcm")
    assert result.exit_code == 0, result.output
    assert [row["file"] for row in _table(tmp_path / "out")] == ["IM-0004-0001.dcm"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir())[0] == "IM-0004-0001.contour.txt"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_is_ended_leaves_nothing_half_done(
    serving: Callable[..., AbstractContextManager[str]],
    gated_engine: Any,
    tmp_path: Path,
    dicom: bytes,
    number: signal.Signals,
) -> None:
    (tmp_path / "slice.dcm").write_bytes(dicom)
    segment = [sys.executable, "-c", "from lvseg_serve.commands import segment; segment()", "slice.dcm"]
    with serving(gated_engine) as address:
        command = [*segment, "--server", address, "--out", "masks"]
        process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert gated_engine.entered.wait(timeout=60)
        assert len(list(tmp_path.iterdir())) == 2
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
        gated_engine.gate.set()
    assert (process.returncode, said.splitlines()[-1]) == (130, "error: interrupted")
    assert [path.name for path in tmp_path.iterdir()] == ["slice.dcm"]
