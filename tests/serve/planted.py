"""A word, planted wherever a request has text, and the search for it in all that a server says."""

import base64
import contextlib
import re
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import numpy as np
from pydicom.uid import JPEG2000, ExplicitVRLittleEndian, JPEGBaseline8Bit, MRImageStorage, RLELossless

from lvseg_api.v1 import segmentation_pb2 as pb

WORD = "ZWETSCHGE"  # in capitals, so that it may stand in a code string too
TEXT_VRS = (
    "AE",
    "AS",
    "CS",
    "DA",
    "DS",
    "DT",
    "IS",
    "LO",
    "LT",
    "PN",
    "SH",
    "ST",
    "TM",
    "UC",
    "UI",
    "UR",
    "UT",
)
LONG_VRS = ("OB", "OW", "SQ", "UC", "UN", "UR", "UT")
PIXEL_DATA = (0x7FE0, 0x0010)
OF_TEXT = {
    "TransferSyntaxUID": (0x0002, 0x0010, "UI"),
    "SpecificCharacterSet": (0x0008, 0x0005, "CS"),
    "SOPClassUID": (0x0008, 0x0016, "UI"),
    "ImagePositionPatient": (0x0020, 0x0032, "DS"),
    "PhotometricInterpretation": (0x0028, 0x0004, "CS"),
    "NumberOfFrames": (0x0028, 0x0008, "IS"),
    "PixelSpacing": (0x0028, 0x0030, "DS"),
    "RescaleSlope": (0x0028, 0x1053, "DS"),
}
"""What is read of a file and is text: the word stands in one of them at a time."""

Key = tuple[int, int, str]


def spellings(word: str) -> list[bytes]:
    """Return how a word may stand in an output: plain, in hexadecimal, in base64 at each of its three offsets."""
    plain = word.encode()
    shifted = [base64.b64encode(b"\0" * offset + plain)[4 if offset else 0 : -4] for offset in range(3)]
    return [plain, plain.hex().encode(), *shifted]


def assert_nowhere(outputs: dict[str, bytes]) -> None:
    """Fail if the word stands in one of the outputs, in any case of letters."""
    for name, output in outputs.items():
        for spelling in spellings(WORD):
            found = output.lower().find(spelling.lower())
            assert found < 0, f"{name}: ...{output[max(0, found - 80) : found + 80]!r}..."


def element(group: int, number: int, vr: str, value: bytes) -> bytes:
    padded = value + b" " * (len(value) % 2)
    head = struct.pack("<HH2s", group, number, vr.encode())
    length = struct.pack("<xxI" if vr in LONG_VRS else "<H", len(padded))
    return head + length + padded


def texts(group: int, first: int) -> bytes:
    """The word in an element of each VR that holds text."""
    return b"".join(element(group, first + n, vr, WORD.encode()) for n, vr in enumerate(TEXT_VRS))


def item(content: bytes) -> bytes:
    return struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def planted_dicom(*, without: str = "", pixels: bytes | None = None, **values: bytes) -> bytes:
    """A slice with the word in preamble, file meta, every VR of text, also private and nested, and after the pixels.

    Args:
        without: Keyword of an element to leave out.
        pixels: The element *Pixel Data*, whole; by default native.
        values: Other values of elements, by keyword.
    """
    elements: dict[Key, bytes] = {
        (0x0028, 0x0002, "US"): struct.pack("<H", 1),
        (0x0028, 0x0010, "US"): struct.pack("<H", 64),
        (0x0028, 0x0011, "US"): struct.pack("<H", 72),
        (0x0028, 0x0100, "US"): struct.pack("<H", 16),
        (0x0028, 0x0101, "US"): struct.pack("<H", 16),
        (0x0028, 0x0102, "US"): struct.pack("<H", 15),
        (0x0028, 0x0103, "US"): struct.pack("<H", 0),
    }
    told = {
        "TransferSyntaxUID": str(ExplicitVRLittleEndian).encode(),
        "SOPClassUID": str(MRImageStorage).encode(),
        "PhotometricInterpretation": b"MONOCHROME2",
        "PixelSpacing": b"1.5\\1.5",
    } | values
    numbers = {"SamplesPerPixel": (0x0028, 0x0002, "US"), "Rows": (0x0028, 0x0010, "US")}
    for keyword, value in told.items():
        if keyword != without:
            elements[(OF_TEXT | numbers)[keyword]] = value
    names = {
        (0x0008, 0x0005, "CS"), (0x0008, 0x0060, "CS"), (0x0008, 0x0080, "LO"), (0x0008, 0x0090, "PN"),
        (0x0010, 0x0010, "PN"), (0x0010, 0x0020, "LO"), (0x0010, 0x0030, "DA"), (0x0010, 0x4000, "LT"),
        (0x0018, 0x1000, "LO"), (0x0020, 0x000D, "UI"), (0x0020, 0x000E, "UI"), (0x0020, 0x0013, "IS"),
        (0x0020, 0x4000, "LT"),
    }  # fmt: skip
    for key in names:
        elements.setdefault(key, WORD.encode())
    nested = item(texts(0x0040, 0x0100) + element(0x0040, 0xA730, "SQ", item(texts(0x0040, 0x0100))))
    elements[(0x0008, 0x1140, "SQ")] = nested
    elements[(0x0040, 0x0275, "SQ")] = nested
    private = element(0x0029, 0x0010, "LO", WORD.encode()) + texts(0x0029, 0x1000)
    private += element(0x0029, 0x1080, "OB", WORD.encode()) + element(0x0029, 0x1081, "UN", WORD.encode())

    meta = element(0x0002, 0x0002, "UI", WORD.encode()) + element(0x0002, 0x0003, "UI", WORD.encode())
    meta += element(0x0002, 0x0010, "UI", elements.pop(OF_TEXT["TransferSyntaxUID"]))
    meta += element(0x0002, 0x0013, "SH", WORD.encode()) + element(0x0002, 0x0016, "AE", WORD.encode())
    meta += element(0x0002, 0x0100, "UI", WORD.encode()) + element(0x0002, 0x0102, "OB", WORD.encode())
    body = b"".join(
        private if key is None else element(*key, elements[key])
        for key in sorted([*elements, None], key=lambda key: (0x0029, 0) if key is None else key[:2])
    )
    if pixels is None:
        grey = np.full((64, 72), 100, "<u2")
        grey[20:40, 30:50] = 1000
        pixels = element(*PIXEL_DATA, "OW", grey.tobytes())
    after = element(0xFFFC, 0xFFFC, "OB", WORD.encode())
    preamble = (bytes(4) + WORD.encode() * 15)[:128]  # other first bytes are another kind of file's
    group_length = element(0x0002, 0x0000, "UL", struct.pack("<I", len(meta)))
    return preamble + b"DICM" + group_length + meta + body + pixels + after


def compressed(fragment: bytes) -> bytes:
    """Pixel Data of one fragment, encapsulated."""
    head = struct.pack("<HH2sxxI", *PIXEL_DATA, b"OB", 0xFFFFFFFF)
    return head + item(b"") + item(fragment) + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def refusals() -> dict[str, tuple[pb.SegmentRequest, str]]:
    """Requests that are refused, each full of the word, with the reason that is expected."""
    whole = planted_dicom()
    contour = pb.Contour(sunnybrook_text=f"10 10\n{WORD} 20\n20 20\n")
    outside = pb.Contour(sunnybrook_text="10 10\n900 10\n900 900\n")
    refused = {
        "no DICOM": (pb.SegmentRequest(dicom=WORD.encode() * 100), "NOT_DICOM"),
        "cut off": (pb.SegmentRequest(dicom=whole[: len(whole) // 2]), "TRUNCATED_PIXEL_DATA"),
        "cut off within text": (pb.SegmentRequest(dicom=whole[: whole.find(b"PN") + 12]), "NOT_DICOM"),
        "no spacing": (
            pb.SegmentRequest(dicom=planted_dicom(without="PixelSpacing")),
            "NO_PIXEL_SPACING",
        ),
        "no such frame": (pb.SegmentRequest(dicom=whole, frame=7), "NO_SUCH_FRAME"),
        "in colour": (pb.SegmentRequest(dicom=planted_dicom(SamplesPerPixel=struct.pack("<H", 3))), "COLOUR"),
        "too large": (pb.SegmentRequest(dicom=planted_dicom(Rows=struct.pack("<H", 60_000))), "TOO_LARGE"),
        "metres for mm": (
            pb.SegmentRequest(dicom=planted_dicom(PixelSpacing=b"9999\\9999")),
            "INVALID_PIXEL_SPACING",
        ),
        "a contour of words": (pb.SegmentRequest(dicom=whole, contour=contour), "NOT_TWO_NUMBERS"),
        "a contour elsewhere": (pb.SegmentRequest(dicom=whole, contour=outside), "OUTSIDE_IMAGE"),
    }
    for keyword, reason in (
        ("TransferSyntaxUID", "UNSUPPORTED_TRANSFER_SYNTAX"),
        ("PhotometricInterpretation", "COLOUR"),
        ("PixelSpacing", "INVALID_PIXEL_SPACING"),
        ("RescaleSlope", "INVALID_MODALITY_LUT"),
    ):
        request = pb.SegmentRequest(dicom=planted_dicom(**{keyword: WORD.encode()}))
        refused[f"word as {keyword}"] = (request, reason)
    for syntax in (JPEGBaseline8Bit, JPEG2000, RLELossless):
        broken = planted_dicom(
            TransferSyntaxUID=str(syntax).encode(), pixels=compressed(b"\xff\xd8\xff" + WORD.encode() * 20)
        )
        refused[f"broken {syntax.name}"] = (pb.SegmentRequest(dicom=broken), "UNDECODABLE")
    return refused


def said(error: grpc.RpcError) -> bytes:
    """Return all that a caller is told of an error."""
    metadata = [*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())]
    parts = [error.code().name, error.details(), *(part for pair in metadata for part in pair)]
    return b"\n".join(part if isinstance(part, bytes) else str(part).encode() for part in parts)


def all_outputs(
    serving: Callable[..., contextlib.AbstractContextManager[Any]],
    temporary: Path,
    exercise: Callable[[grpc.Channel], dict[str, bytes]],
    *options: str,
) -> dict[str, bytes]:
    """Exercise a server of its own process; return its answers, log, metrics, standard output and temporary files.

    Args:
        serving: The fixture ``serving_process``.
        temporary: The fixture of that name.
        exercise: Calls it, and returns what it said each time.
        options: More of lvseg-serve's.
    """
    bounds = ("--max-message-mib", "1", "--max-pending", "2")
    ports = ("--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0")
    with serving(*ports, *bounds, "--log-level", "debug", *options) as running:
        process = running.process
        log = [process.stderr.readline()]
        reader = threading.Thread(
            target=log.extend, args=[process.stderr]
        )  # a full pipe would hold the server up
        reader.start()
        with grpc.insecure_channel(running.address) as channel:
            outputs = exercise(channel)
        metrics = re.search(r"127\.0\.0\.1:\d+", log[0].replace(running.address, ""))
        assert metrics
        with urlopen(f"http://{metrics[0]}/metrics", timeout=60) as page:
            outputs["metrics"] = page.read()
        assert re.search(r"core file size +0 +0 ", Path(f"/proc/{process.pid}/limits").read_text())
        for path in temporary.rglob("*"):
            outputs[str(path)] = str(path).encode() + (path.read_bytes() if path.is_file() else b"")
        process.terminate()
        outputs["standard output"] = process.stdout.read().encode()
        reader.join()
    outputs["log"] = "".join(log).encode()
    return outputs
