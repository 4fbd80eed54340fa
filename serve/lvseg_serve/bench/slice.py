"""The slice that everything is measured with."""

import io
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray

from lvseg.data.files import find_dicom
from lvseg.data.phantom import write_phantoms
from lvseg.dicom import Slice
from lvseg.resample import to_working

DEFAULT_SIZE = 256

Stack = NDArray[np.float32]
"""A batch (N, 1, H, W) of one slice on the working grid, repeated."""


def phantom_dicom(size: int) -> bytes:
    """Return the DICOM file of a phantom slice with as many rows and columns.

    A pixel is as large in mm as that of the default size, so that the working grid grows with the slice: what
    is measured is more work, not the same field of view in finer pixels.

    Raises:
        OptionError: If no phantom can be painted in that size.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_phantoms(Path(folder), patients=1, seed=0, size=size)
        dataset = pydicom.dcmread(find_dicom([Path(folder)])[0])
    factor = size / DEFAULT_SIZE
    dataset.PixelSpacing = [round(float(spacing) * factor, 6) for spacing in dataset.PixelSpacing]
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def stacks_of(slice_: Slice, batches: Sequence[int], working_spacing_mm: float) -> list[Stack]:
    """Return a slice on the working grid, repeated, for each batch size."""
    pixels = to_working(slice_.pixels, slice_.pixel_spacing, working_spacing_mm)
    return [np.repeat(pixels[None, None], batch, axis=0) for batch in batches]
