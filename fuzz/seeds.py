"""Small good inputs from which the fuzzer starts."""

from collections.abc import Callable
from pathlib import Path

from pydicom.data import data_manager

from lvseg_api.v1 import segmentation_pb2 as pb

_LARGEST = 20_000
_CONTOURS = (
    "1 1\n9 1\n9 9\n",
    "106.50 109.00\r\n107.00 108.50\r\n106.00 108.50\r\n",
    "1e308 0\n0 1e308\n-1e308 1\n",
)


def dicom_files() -> dict[str, bytes]:
    """Return pydicom's small test files: every encoding, every compression, and what is broken on purpose."""
    root = Path(data_manager.DATA_ROOT)
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and path.suffix in (".dcm", ""))
    small = (path for path in files if path.stat().st_size <= _LARGEST)
    return {f"{path.parent.name}-{path.name}": path.read_bytes() for path in small}


def contour_texts() -> dict[str, bytes]:
    """Return contours as the challenge's files have them, and one with the largest numbers."""
    return {f"contour-{index}": text.encode() for index, text in enumerate(_CONTOURS)}


def requests() -> dict[str, bytes]:
    """Return messages with a file, and with each of the fields beside it."""
    spacing = pb.PixelSpacing(between_rows_mm=1.5, between_columns_mm=1.5)
    points = pb.Polygon(points=[pb.Point(x=1, y=1), pb.Point(x=9, y=1), pb.Point(x=9, y=9)])
    contours = [pb.Contour(points=points), *(pb.Contour(sunnybrook_text=text) for text in _CONTOURS)]
    messages = {
        f"file-{name}": pb.SegmentRequest(dicom=data, frame=1, pixel_spacing=spacing)
        for name, data in dicom_files().items()
    }
    messages |= {
        f"contour-{index}": pb.SegmentRequest(contour=contour, outputs=[pb.OUTPUT_MASK, pb.OUTPUT_CONTOUR])
        for index, contour in enumerate(contours)
    }
    return {name: message.SerializeToString() for name, message in messages.items()}


SEEDS: dict[str, Callable[[], dict[str, bytes]]] = {
    "dicom": dicom_files,
    "contour": contour_texts,
    "request": requests,
}
"""By the name of the property in :mod:`fuzz.properties`."""
