"""What a caller may ask for and what the server answers, in the same classes at both ends."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lvseg.contour import Boundary
from lvseg.metrics import Agreement
from lvseg.plausibility import Plausibility
from lvseg.shift import Shift


class Output(StrEnum):
    """What an answer may carry beside its figures."""

    MASK = "mask"
    """The mask; it travels as a PNG."""
    MASK_RUNS = "mask_runs"
    """The mask; it travels as lengths of runs (:mod:`lvseg_serve.runs`)."""
    MASK_BITS = "mask_bits"
    """The mask; it travels as one bit a pixel (:mod:`lvseg_serve.bits`)."""
    CONTOUR = "contour"
    """The outer boundary of the mask's largest part."""
    BOUNDARIES = "boundaries"
    """The boundaries of every part and of every hole."""
    PROBABILITY = "probability"
    """The model's probability on the slice's own grid."""


MASK_OUTPUTS = frozenset({Output.MASK, Output.MASK_RUNS, Output.MASK_BITS})
"""The mask in one of the forms in which it travels."""
DEFAULT_OUTPUTS = frozenset({Output.MASK, Output.CONTOUR})


class ContourForm(StrEnum):
    """How a contour to compare with may come."""

    POINTS = "points"
    SUNNYBROOK_TEXT = "sunnybrook_text"
    MASK_PNG = "mask_png"
    MASK_BITS = "mask_bits"


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """Which model, in which file, on which engine."""

    name: str
    version: str
    sha256: str
    """Digest of the engine's file, in hexadecimal."""
    engine: str
    """Runtime and device, such as ``"onnxruntime-cpu"``."""
    engine_version: str
    precision: str
    """Arithmetic of the network, such as ``"fp32"``."""


@dataclass(frozen=True, kw_only=True)
class StageTimings:
    """Wall-clock time of each stage on the server, in milliseconds."""

    decode_ms: float
    """Reading the DICOM object and the contour, and decoding the pixels."""
    resample_ms: float
    """Resampling to the model's pixel spacing."""
    inference_ms: float
    postprocess_ms: float
    """Bringing the probability back to the slice's grid; mask, outline and area."""
    compare_ms: float
    """Comparing with the caller's contour, and judging it; 0 when none came."""
    total_ms: float
    """From the request to the result, with every wait between the stages."""

    @property
    def own_ms(self) -> float:
        """The slice's own time: all stages, no waits. A call of the engine that slices shared counts for each."""
        return self.decode_ms + self.resample_ms + self.inference_ms + self.postprocess_ms + self.compare_ms


@dataclass(frozen=True, eq=False, kw_only=True)
class Segmentation:
    """What a model says of one slice."""

    rows: int
    columns: int
    frame: int
    """Which frame of the object was segmented, counted from 1."""
    pixel_spacing: tuple[float, float]
    """(between rows, between columns) in mm."""
    mask: NDArray[np.bool_] | None
    """Shape (rows, columns), true in the left-ventricle blood pool, in whatever form it travelled; None when
    it was not asked for in any."""
    contour: NDArray[np.float64] | None
    """Outer boundary of the mask's largest part, shape (N, 2), (x, y) = (column, row) in pixels, pixel
    centres at integers; None when it was not asked for or the mask is empty."""
    boundaries: tuple[Boundary, ...] | None
    """Of every part of the mask, with its holes; None when they were not asked for."""
    probability: NDArray[np.float32] | None
    """Shape (rows, columns), of left ventricle, from 0 to 1; None when it was not asked for."""
    area_mm2: float
    """Area of the whole mask; 0 when the model found no left ventricle."""
    agreement: Agreement | None
    """How well the mask agrees with the caller's contour; None when none was given."""
    contour_form: ContourForm | None
    """How the caller's contour came; None when none was given."""
    plausibility: Plausibility | None
    """What the caller's contour looks like, where it does not look like the cavity; None when none was given."""
    model: ModelIdentity
    timings: StageTimings


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the server refuses to exceed."""

    max_message_bytes: int
    max_side: int
    """Rows of a slice, and columns alike."""
    max_working_pixels: int
    """Rows x columns of a slice after resampling to the model's pixel spacing."""
    max_pending: int
    """Slices that are taken and not answered yet, over all callers."""
    max_stream_pending: int
    """Slices of one stream that are taken and not answered yet; it is not read further while they are so many."""


@dataclass(frozen=True, kw_only=True)
class SeriesSummary:
    """What a stream of slices did."""

    answered: int
    """Slices that were segmented."""
    failed: int
    """Slices that were refused or failed."""
    contour_shift: Shift | None = None
    """How far the callers' contours lie off the masks, where the slices are of one series; None for fewer than two
    slices of which both are known."""


@dataclass(frozen=True, kw_only=True)
class ServerInfo:
    """What a server runs and accepts."""

    model: ModelIdentity
    architecture: str
    labels: tuple[str, ...]
    """Meaning of the mask's values, from 0 on."""
    channels: int
    """Channels of the network's input image."""
    working_spacing_mm: float
    """Side of a square pixel of the model's working grid."""
    training: Mapping[str, Any]
    """What the bundle says of the training: data, recipe and metrics, as JSON values."""
    threads: int
    """CPU threads that one inference may use."""
    limits: Limits
    versions: Mapping[str, str]
    """Versions of the packages that matter to the result, by name."""


class Swapped(NamedTuple):
    """Which model answers, and which did before."""

    model: ModelIdentity
    former_model: ModelIdentity


@dataclass(frozen=True, kw_only=True)
class Status:
    """How a server is."""

    model: ModelIdentity
    bundle: str
    """The folder that it was loaded from."""
    former_model: ModelIdentity | None
    """What rolling back would let answer; ``None``: there is none."""
    uptime_s: float
    pending: int
    """Slices that are taken and not answered yet."""
    queued: int
    """Slices of them that wait for the engine."""
    workers: int
    """Processes that read slices and are alive."""
    serving: bool
    why_not_serving: str
    """Empty when it is serving."""
    canaries_passed: int
    """Since the server started."""
    canaries_failed_in_a_row: int
