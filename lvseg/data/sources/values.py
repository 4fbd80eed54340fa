"""Which of a label's values is the ventricle, and the labelled slice that comes of it."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lvseg.contour import mask_to_contour
from lvseg.data.labelled import LabelledImage, Sample
from lvseg.dicom import Slice
from lvseg.errors import DatasetError, LabelError


def check_label(values: Mapping[Path, frozenset[int]], label: int | None) -> None:
    """Check that it is clear which value of the labels is the ventricle.

    Args:
        values: The values other than 0 of each label.
        label: The one that was asked for; ``None`` means whatever is not 0.

    Raises:
        DatasetError: ``SEVERAL_LABELS``, if none was asked for and a label has several values, which would
            take the wall or the right ventricle for the cavity; ``NO_SUCH_LABEL``, if no label has the value.
    """
    known = frozenset[int]().union(*values.values())
    if label is None:
        several = next((path for path, found in values.items() if len(found) > 1), None)
        if several is not None:
            raise DatasetError(
                f"{several}: holds the values {_listed(values[several])}; say with --label which of them is the "
                "left ventricle's cavity (3 in the ACDC data)",
                reason="SEVERAL_LABELS",
                field="--label",
                expected=_listed(known),
            )
    elif known and label not in known:
        raise DatasetError(
            f"no label holds the value {label}; they hold {_listed(known)}: choose one of these with --label",
            reason="NO_SUCH_LABEL",
            field="--label",
            expected=_listed(known),
        )


def whole_numbers(values: NDArray[np.generic], path: Path) -> NDArray[np.int64]:
    """Return a label's values as integers.

    Raises:
        LabelError: ``NOT_A_LABEL``, if they are none, as those of a probability map.
    """
    if values.dtype.kind not in "buif":
        raise _not_a_label(path, f"values of the type {values.dtype}")
    numbers = values.astype(np.float64) if values.dtype.kind == "f" else values
    if not (np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()):
        raise _not_a_label(path, "values that are no whole numbers")
    return numbers.astype(np.int64)


def inside(values: NDArray[np.int64], label: int | None) -> NDArray[np.bool_]:
    """Return where a label marks the ventricle."""
    mask: NDArray[np.bool_] = values != 0 if label is None else values == label
    return mask


def other_than_0(values: NDArray[np.int64]) -> frozenset[int]:
    """Return the values of a label that mark something."""
    return frozenset(np.unique(values).tolist()) - {0}


def with_mask(sample: Sample, slice_: Slice, mask: NDArray[np.bool_]) -> LabelledImage:
    """Return a slice with its mask, and the outer boundary of that.

    Raises:
        LabelError: ``OTHER_SHAPE``, if the mask has not the slice's; ``EMPTY_MASK``, if it marks nothing.
    """
    if mask.shape != slice_.pixels.shape:
        raise other_shape(sample.label, mask.shape, slice_.pixels.shape)
    contour = mask_to_contour(mask)
    if contour is None:
        raise LabelError(
            f"{sample.label}: marks no pixel of the ventricle any more; was it changed?",
            reason="EMPTY_MASK",
            field="label",
        )
    return LabelledImage(sample, slice_, contour, mask)


def other_shape(label: Path, found: Iterable[int], expected: Iterable[int]) -> LabelError:
    """Return the error of a label that does not cover its image pixel by pixel."""
    own, images = (" x ".join(map(str, shape)) for shape in (found, expected))
    return LabelError(
        f"{label}: {own} pixels, expected {images} as its image has; is it of another image, or resampled?",
        reason="OTHER_SHAPE",
        field="label",
        expected=images,
    )


def _listed(values: Iterable[int]) -> str:
    most = 12
    numbers = sorted(values)
    shown = ", ".join(map(str, numbers[:most]))
    return f"{shown} and {len(numbers) - most} more" if len(numbers) > most else shown


def _not_a_label(path: Path, found: str) -> LabelError:
    return LabelError(
        f"{path}: found {found}, expected a whole number for each pixel: 0 outside",
        reason="NOT_A_LABEL",
        field="label",
        expected="whole numbers",
    )
