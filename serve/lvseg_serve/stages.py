"""What is done to a slice before and after the engine: functions of their arguments, for any thread or process."""

from dataclasses import dataclass
from functools import partial
from pickle import PickleBuffer
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvseg.contour import Boundary, mask_area_mm2, mask_boundaries, mask_to_contour
from lvseg.dicom import read_slice
from lvseg.errors import DicomError
from lvseg.metrics import Agreement
from lvseg.plausibility import Plausibility, judge_contour
from lvseg.resample import from_working, mask_from_working, to_working, working_shape
from lvseg_serve.answers import DEFAULT_OUTPUTS, MASK_OUTPUTS, ContourForm, Output
from lvseg_serve.reference import Given, Reference, read_reference

MAX_WORKING_PIXELS = 1024 * 1024
"""Largest working grid: every pixel of it costs the network time and memory."""
PIXEL_SPACINGS_MM = (0.2, 5.0)
"""Finest and coarsest pixel spacing that is taken for one of cardiac MR (1 to 2 mm as a rule): beyond it the object is
of another kind, or its spacing is wrong, and so would be every mm² of the answer. Here and not in ``read_slice``,
which also reads what is neither cardiac nor to be segmented."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SliceRequest:
    """One slice to segment."""

    dicom: bytes
    frame: int | None = None
    """Which frame of a multi-frame object, counted from 1; None: the only one there is."""
    pixel_spacing: tuple[float, float] | None = None
    """(between rows, between columns) in mm for a file that has none."""
    contour: Given | None = None
    """Contour to compare with, in one of its forms."""
    outputs: frozenset[Output] = DEFAULT_OUTPUTS

    def __getstate__(self) -> dict[str, Any]:
        """Return what is pickled; a file is large, and a buffer may travel beside the pickle."""
        return {**self.__dict__, "dicom": PickleBuffer(self.dicom)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take what :meth:`__getstate__` gave."""
        self.__dict__.update(state, dicom=bytes(state["dicom"]))


class Grid(NamedTuple):
    """Where the pixels of a slice are."""

    shape: tuple[int, int]
    """(rows, columns)."""
    pixel_spacing: tuple[float, float]
    """(between rows, between columns) in mm."""
    frame: int
    """Which frame of its object it is, counted from 1."""


class Compared(NamedTuple):
    """What a mask is compared with."""

    contour: Reference
    """Of the request."""
    pixels: NDArray[np.float32]
    """Of the slice as it was sent, by which the contour is judged."""


class Prepared(NamedTuple):
    """A slice that is ready for the engine."""

    pixels: NDArray[np.float32]
    """Shape (H, W), on the working grid."""
    grid: Grid
    """Of the slice as it was sent."""
    compared: Compared | None
    """None when no contour came."""
    decode_ms: float
    resample_ms: float


class Finished(NamedTuple):
    """What the engine's probability means for the slice as it was sent."""

    mask: NDArray[np.bool_] | None
    contour: NDArray[np.float64] | None
    boundaries: tuple[Boundary, ...] | None
    probability: NDArray[np.float32] | None
    area_mm2: float
    agreement: Agreement | None
    contour_form: ContourForm | None
    plausibility: Plausibility | None
    postprocess_ms: float
    compare_ms: float


def prepare(request: SliceRequest, working_spacing_mm: float) -> Prepared:
    """Read a slice and bring it to the working grid. What its header says is judged before a pixel is decoded.

    Raises:
        DicomError: If the object cannot be read as a slice, its pixel spacing is none of cardiac MR, or its working
            grid would be too large.
        ContourError: If the contour is malformed or does not fit the slice.
    """
    watch = _Stopwatch()
    slice_ = read_slice(
        request.dicom,
        frame=request.frame,
        pixel_spacing=request.pixel_spacing,
        accept=partial(_check_grid, working_spacing_mm=working_spacing_mm),
    )
    height, width = slice_.pixels.shape
    contour = None if request.contour is None else read_reference(request.contour, (height, width))
    decode_ms = watch.lap_ms()
    pixels = to_working(slice_.pixels, slice_.pixel_spacing, working_spacing_mm)
    grid = Grid((height, width), slice_.pixel_spacing, slice_.frame)
    compared = None if contour is None else Compared(contour, slice_.pixels)
    return Prepared(pixels, grid, compared, decode_ms, watch.lap_ms())


def _check_grid(
    shape: tuple[int, int], pixel_spacing: tuple[float, float], working_spacing_mm: float
) -> None:
    finest, coarsest = PIXEL_SPACINGS_MM
    if not finest <= min(pixel_spacing) <= max(pixel_spacing) <= coarsest:
        expected = f"{finest:g} to {coarsest:g} mm between rows and between columns"
        raise DicomError(
            f"PixelSpacing is none of cardiac MR; expected {expected}",
            reason="INVALID_PIXEL_SPACING",
            field="PixelSpacing",
            expected=expected,
        )
    rows, columns = working_shape(shape, pixel_spacing, working_spacing_mm)
    if rows * columns > MAX_WORKING_PIXELS:
        raise DicomError(
            f"the slice would have {rows} x {columns} pixels at the model's {working_spacing_mm:g} mm, "
            f"at most {MAX_WORKING_PIXELS} in all are accepted; check its pixel spacing",
            reason="TOO_LARGE",
            field="PixelSpacing",
            expected=f"at most {MAX_WORKING_PIXELS} pixels of {working_spacing_mm:g} mm",
        )


def finish(
    probability: NDArray[np.float32],
    grid: Grid,
    compared: Compared | None,
    outputs: frozenset[Output],
) -> Finished:
    """Bring a probability of the working grid back to the slice, and compare with the contour, if one came."""
    watch = _Stopwatch()
    mask = mask_from_working(probability, grid.shape)
    own = from_working(probability, grid.shape) if Output.PROBABILITY in outputs else None
    outline = mask_to_contour(mask) if Output.CONTOUR in outputs else None
    boundaries = mask_boundaries(mask) if Output.BOUNDARIES in outputs else None
    area_mm2 = mask_area_mm2(mask, grid.pixel_spacing)
    postprocess_ms = watch.lap_ms()
    agreement = plausibility = None
    if compared is not None:
        agreement = compared.contour.agreement(mask, grid.pixel_spacing)
        drawn = compared.contour.drawn(grid.shape)
        plausibility = judge_contour(compared.pixels, mask, drawn, grid.pixel_spacing)
    return Finished(
        mask=mask if outputs & MASK_OUTPUTS else None,
        contour=outline,
        boundaries=boundaries,
        probability=own,
        area_mm2=area_mm2,
        agreement=agreement,
        plausibility=plausibility,
        contour_form=None if compared is None else compared.contour.form,
        postprocess_ms=postprocess_ms,
        compare_ms=0.0 if compared is None else watch.lap_ms(),
    )


class _Stopwatch:
    """Tells the milliseconds since it was last asked."""

    def __init__(self) -> None:
        self._last = perf_counter()

    def lap_ms(self) -> float:
        last, self._last = self._last, perf_counter()
        return (self._last - last) * 1e3
