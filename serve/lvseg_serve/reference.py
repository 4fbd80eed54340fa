"""The contour to compare with: the forms in which a caller may give it, and the one that is compared."""

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lvseg.contour import Mask, check_contour, contour_to_mask, mask_to_contour, parse_contour
from lvseg.errors import ContourError
from lvseg.metrics import Agreement, compare, compare_masks
from lvseg_serve.answers import ContourForm
from lvseg_serve.bits import bits_length, decode_bits
from lvseg_serve.png import decode_mask, encode_mask, png_shape


@dataclass(frozen=True)
class EncodedMask:
    """A mask as it travels, whose slice's shape is not known yet."""

    form: ContourForm
    """``MASK_PNG`` or ``MASK_BITS``."""
    content: bytes


Given: TypeAlias = NDArray[np.float64] | str | EncodedMask
"""Points of shape (N, 2), the text of a Sunnybrook contour file, or a mask."""


@dataclass(frozen=True, eq=False)
class Reference:
    """A contour that fits its slice."""

    form: ContourForm
    """In which it came."""
    points: NDArray[np.float64]
    """The contour, shape (N, 2); of a mask, the outer boundary of its largest part."""
    mask: NDArray[np.bool_] | None = None
    """The mask, shape (rows, columns), if it came as one."""

    def drawn(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the pixels inside, of a slice of ``shape`` (rows, columns)."""
        return contour_to_mask(self.points, shape) if self.mask is None else self.mask

    def agreement(self, mask: Mask, pixel_spacing: tuple[float, float]) -> Agreement:
        """Return how a mask of the slice agrees with it."""
        if self.mask is not None:
            return compare_masks(mask, self.mask, pixel_spacing)
        return compare(mask, self.points, pixel_spacing)


def given(contour: ArrayLike | str) -> Given:
    """Return what a caller in Python gave, in a form that travels.

    Args:
        contour: Text; an array of bool, which is a mask of shape (rows, columns); or points of shape (N, 2).

    Raises:
        ValueError: If it is an array of neither shape.
    """
    if isinstance(contour, str):
        return contour
    array = np.asarray(contour)
    if array.dtype == np.bool_ and array.ndim == 2 and array.size:
        return EncodedMask(ContourForm.MASK_PNG, encode_mask(array))
    if array.dtype == np.bool_ or array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(
            "expected contour points of shape (N, 2), or a mask of bool and of the slice's shape, "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.float64)


def read_reference(contour: Given, shape: tuple[int, int]) -> Reference:
    """Return a contour, checked against the slice that it came with.

    Args:
        contour: In one of its forms.
        shape: The slice's (rows, columns).

    Raises:
        ContourError: If it is malformed, or does not fit the slice.
    """
    if isinstance(contour, EncodedMask):
        mask = _mask(contour, shape)
        outline = mask_to_contour(mask)
        if outline is None:
            raise _refused("has no pixel inside", "EMPTY_MASK", "at least one pixel inside")
        return Reference(contour.form, check_contour(outline, shape), mask)
    form, points = ContourForm.POINTS, contour
    if isinstance(points, str):
        form, points = ContourForm.SUNNYBROOK_TEXT, parse_contour(points)
    return Reference(form, check_contour(points, shape))


def _mask(encoded: EncodedMask, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Decode a mask once it is known to be as large as its slice, and no larger."""
    rows, columns = shape
    if encoded.form is ContourForm.MASK_BITS:
        expected = f"{bits_length(shape)} bytes for {rows} x {columns} pixels"
        if len(encoded.content) != bits_length(shape):
            raise _refused(f"has {len(encoded.content)} bytes", "WRONG_SHAPE", expected)
        return decode_bits(encoded.content, shape)
    expected = f"a PNG of one bit a pixel, of {rows} x {columns} (rows x columns)"
    try:
        stated = png_shape(encoded.content)
        if stated != shape:
            raise _refused(f"has {stated[0]} x {stated[1]} pixels", "WRONG_SHAPE", expected)
        return decode_mask(encoded.content)
    except ValueError as error:
        raise _refused("is no PNG of one bit a pixel", "NOT_A_MASK", expected) from error


def _refused(found: str, reason: str, expected: str) -> ContourError:
    return ContourError(
        f"the mask to compare with {found}, expected {expected}; is it of this slice?",
        reason=reason,
        field="contour",
        expected=expected,
    )
