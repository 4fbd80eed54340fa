"""The errors that several parts of the reader raise about pixel data."""

from lvseg.errors import DicomError


def truncated(found: str) -> DicomError:
    """Return the error for pixel data of which a part is missing."""
    return DicomError(
        f"the pixel data are truncated: {found}; send the whole file",
        reason="TRUNCATED_PIXEL_DATA",
        field="PixelData",
        expected="the whole pixel data",
    )


def undecodable(found: str) -> DicomError:
    """Return the error for pixel data that are all there and make no sense."""
    return DicomError(
        f"the pixel data cannot be decoded: {found}; store the object again, uncompressed if possible",
        reason="UNDECODABLE",
        field="PixelData",
    )


def empty() -> DicomError:
    """Return the error for pixel data of no bytes."""
    return DicomError(
        "the pixel data are empty; expected an image",
        reason="NO_PIXEL_DATA",
        field="PixelData",
        expected="an image",
    )
