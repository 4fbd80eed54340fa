"""The work that every server beside lvseg-serve does: a DICOM file's bytes in; mask as PNG, contour and area out.

What a good engineer writes in an afternoon: pydicom, ONNX Runtime, Pillow, and lvseg's own resampling, decision and
outline, so that every server has the same answer to give and does the same arithmetic for it.
"""

import base64
import io
import json
import os
from typing import NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from PIL import Image
from pydicom import dcmread

from lvseg.contour import mask_area_mm2, mask_to_contour
from lvseg.resample import mask_from_working, to_working


class Answer(NamedTuple):
    """What is said of a slice."""

    rows: int
    columns: int
    pixel_spacing: tuple[float, float]
    """(between rows, between columns) in mm."""
    mask_png: bytes
    contour: NDArray[np.float64]
    """Shape (N, 2), (x, y) in pixels; no points where the mask is empty."""
    area_mm2: float

    def to_json(self) -> bytes:
        """Return the answer as the servers that speak HTTP send it."""
        return json.dumps(
            {
                "mask_png": base64.b64encode(self.mask_png).decode(),
                "contour": self.contour.tolist(),
                "area_mm2": self.area_mm2,
            }
        ).encode()


class Prepared(NamedTuple):
    """A slice that is ready for the model."""

    pixels: NDArray[np.float32]
    """Shape (1, 1, H, W), on the working grid."""
    shape: tuple[int, int]
    """(rows, columns) of the slice as it came."""
    pixel_spacing: tuple[float, float]
    """(between rows, between columns) in mm."""


class SliceWork:
    """A model, ready to segment slices with one thread a call; safe in threads.

    Args:
        model: Path of a bundle's ONNX file.
        working_spacing_mm: Side of a pixel of the model's working grid.
    """

    def __init__(self, model: str, working_spacing_mm: float) -> None:
        self._spacing_mm = working_spacing_mm
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @classmethod
    def from_environment(cls) -> "SliceWork":
        """Return the work with the model that the variables ``MODEL`` and ``WORKING_SPACING_MM`` say."""
        return cls(os.environ["MODEL"], float(os.environ["WORKING_SPACING_MM"]))

    def prepare(self, dicom: bytes) -> Prepared:
        """Read a slice and bring it to the working grid."""
        dataset = dcmread(io.BytesIO(dicom))
        slope = float(dataset.get("RescaleSlope", 1))
        intercept = float(dataset.get("RescaleIntercept", 0))
        pixels = (dataset.pixel_array * slope + intercept).astype(np.float32)
        between_rows, between_columns = (float(spacing) for spacing in dataset.PixelSpacing)
        spacing = between_rows, between_columns
        working = to_working(pixels, spacing, self._spacing_mm)
        return Prepared(working[np.newaxis, np.newaxis], pixels.shape, spacing)

    def run(self, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities (1, H, W) of a slice (1, 1, H, W): the engine alone."""
        (probability,) = self._session.run(["probability"], {"pixels": pixels})
        return probability

    def __call__(self, dicom: bytes) -> Answer:
        """Segment one slice."""
        prepared = self.prepare(dicom)
        mask = mask_from_working(self.run(prepared.pixels)[0], prepared.shape)
        png = io.BytesIO()
        Image.fromarray(mask).save(png, format="PNG")
        contour = mask_to_contour(mask)
        return Answer(
            rows=prepared.shape[0],
            columns=prepared.shape[1],
            pixel_spacing=prepared.pixel_spacing,
            mask_png=png.getvalue(),
            contour=np.empty((0, 2)) if contour is None else contour,
            area_mm2=mask_area_mm2(mask, prepared.pixel_spacing),
        )
