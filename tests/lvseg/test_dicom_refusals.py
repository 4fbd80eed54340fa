import io
import struct
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    MPEG2MPML,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from lvseg._dicom import parser
from lvseg.dicom import Slice, read_slice
from lvseg.errors import DicomError, OptionError

MakeDicom = Callable[..., bytes]


def refusal(source: bytes | str | Path, **options: object) -> DicomError:
    with pytest.raises(DicomError) as caught:
        read_slice(source, **options)
    return caught.value


# One by one, before a pixel is read


@pytest.mark.parametrize(
    ("attributes", "reason", "field"),
    [
        ({"PixelData": None}, "NO_PIXEL_DATA", "PixelData"),
        ({"PixelData": b""}, "NO_PIXEL_DATA", "PixelData"),
        ({"Rows": None}, "MISSING_ROWS_OR_COLUMNS", "Rows"),
        ({"Columns": 0}, "MISSING_ROWS_OR_COLUMNS", "Columns"),
        ({"Rows": 4097}, "TOO_LARGE", "Rows"),
        ({"Columns": 65535}, "TOO_LARGE", "Columns"),
        ({"SamplesPerPixel": 3}, "COLOUR", "SamplesPerPixel"),
        ({"PhotometricInterpretation": "RGB"}, "COLOUR", "PhotometricInterpretation"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "COLOUR", "PhotometricInterpretation"),
        ({"PhotometricInterpretation": None}, "UNSUPPORTED_PIXEL_FORMAT", "PhotometricInterpretation"),
        ({"BitsAllocated": 32}, "UNSUPPORTED_PIXEL_FORMAT", "BitsAllocated"),
        ({"BitsAllocated": 1}, "UNSUPPORTED_PIXEL_FORMAT", "BitsAllocated"),
        ({"BitsStored": 7}, "UNSUPPORTED_PIXEL_FORMAT", "BitsStored"),
        ({"BitsStored": 17}, "UNSUPPORTED_PIXEL_FORMAT", "BitsStored"),
        ({"BitsStored": None}, "UNSUPPORTED_PIXEL_FORMAT", "BitsStored"),
        ({"BitsStored": 12, "HighBit": 15}, "UNSUPPORTED_PIXEL_FORMAT", "HighBit"),
        ({"PixelRepresentation": 2}, "UNSUPPORTED_PIXEL_FORMAT", "PixelRepresentation"),
        ({"NumberOfFrames": -1}, "INVALID_NUMBER_OF_FRAMES", "NumberOfFrames"),
        ({"PixelSpacing": None}, "NO_PIXEL_SPACING", "PixelSpacing"),
        ({"PixelSpacing": [1.5, 0]}, "INVALID_PIXEL_SPACING", "PixelSpacing"),
        ({"PixelSpacing": [-1.5, 1.5]}, "INVALID_PIXEL_SPACING", "PixelSpacing"),
        ({"PixelSpacing": 1.5}, "INVALID_PIXEL_SPACING", "PixelSpacing"),
        ({"RescaleSlope": 0}, "INVALID_MODALITY_LUT", "RescaleSlope"),
        ({"RescaleSlope": 1e38}, "INVALID_MODALITY_LUT", "RescaleSlope"),
        ({"RescaleIntercept": [1, 2]}, "INVALID_MODALITY_LUT", "RescaleIntercept"),
    ],
)
def test_an_image_that_cannot_be_a_slice_is_refused(
    make_dicom: MakeDicom, attributes: dict[str, object], reason: str, field: str
) -> None:
    error = refusal(make_dicom(**attributes))
    assert (error.reason, error.field) == (reason, field)
    assert error.expected
    assert "\n" not in str(error)
    assert "Doe" not in str(error)


@pytest.mark.parametrize("text", [b"nan", b"inf", b"abc"])
def test_a_pixel_spacing_that_is_no_finite_number_is_refused(make_dicom: MakeDicom, text: bytes) -> None:
    data = make_dicom(PixelSpacing=["1.5", "2.7"]).replace(b"2.7", text)
    error = refusal(data, pixel_spacing=(1, 1))
    assert error.reason == "INVALID_PIXEL_SPACING"
    assert text.decode() not in str(error)


def test_a_slice_of_4096_by_4096_is_not_too_large(make_dicom: MakeDicom) -> None:
    assert read_slice(make_dicom(np.zeros((4096, 4096), np.uint8))).pixels.shape == (4096, 4096)


def test_sizes_are_refused_before_pixels_are_missed(make_dicom: MakeDicom) -> None:
    assert refusal(make_dicom(Rows=4097, PixelData=b"few!")).reason == "TOO_LARGE"


def test_floating_point_pixels_are_refused(make_dicom: MakeDicom) -> None:
    data = make_dicom(PixelData=None, FloatPixelData=struct.pack("<6f", *range(6)))
    assert refusal(data).reason == "UNSUPPORTED_PIXEL_FORMAT"


@pytest.mark.parametrize("spacing", [(1,), (1, 2, 3), (0, 1), (1, -1), (float("nan"), 1), (1, float("inf"))])
def test_a_given_pixel_spacing_has_to_be_two_positive_numbers(
    make_dicom: MakeDicom, spacing: tuple[float, ...]
) -> None:
    with pytest.raises(OptionError) as caught:
        read_slice(make_dicom(), pixel_spacing=spacing)
    assert caught.value.reason == "INVALID_PIXEL_SPACING"


@pytest.mark.parametrize(
    ("descriptor", "data", "field"),
    [
        ([3, 0, 16], b"\1\0\2\0", "LUTData"),
        ([2, 0, 12], b"\1\0\2\0", "LUTDescriptor"),
        ([2, 0], b"\1\0\2\0", "LUTDescriptor"),
        ([2, 0, 16], b"", "LUTDescriptor"),
    ],
)
def test_a_lookup_table_that_is_not_whole_is_refused(
    make_dicom: MakeDicom, descriptor: list[int], data: bytes, field: str
) -> None:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = descriptor, data
    table["LUTData"].VR = "OW"
    error = refusal(make_dicom(ModalityLUTSequence=[table]))
    assert (error.reason, error.field) == ("INVALID_MODALITY_LUT", field)


# Frames


def test_an_object_of_several_frames_needs_a_frame_number(make_dicom: MakeDicom) -> None:
    error = refusal(make_dicom(np.zeros((3, 1, 2), np.uint8)))
    assert error.reason == "FRAME_REQUIRED"
    assert "3 frames" in str(error)


@pytest.mark.parametrize("frame", [-1, 0, 4, 10**9])
def test_a_frame_that_does_not_exist_is_refused(make_dicom: MakeDicom, frame: int) -> None:
    error = refusal(make_dicom(np.zeros((3, 1, 2), np.uint8)), frame=frame)
    assert error.reason == "NO_SUCH_FRAME"
    assert error.expected == "a frame from 1 to 3"


# Not DICOM


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"hello\n", id="short text"),
        pytest.param(b"x y\n" * 1000, id="long text"),
        pytest.param(b"\x89PNG\r\n\x1a\n" + bytes(500), id="png"),
        pytest.param(bytes(4096), id="zeros"),
        pytest.param(b"\xff" * 4096, id="ones"),
        pytest.param(bytes(128) + b"DICM", id="preamble alone"),
        pytest.param(bytes(128) + b"DICM" + b"\xff" * 400, id="noise after the preamble"),
        pytest.param(b"\x08\x00" + bytes(range(256)), id="starts like an old file"),
    ],
)
def test_what_is_not_dicom_is_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert refusal(data).reason == refusal(path).reason == "NOT_DICOM"


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.dcm"):
        error = refusal(path)
        assert error.reason == "UNREADABLE_FILE"
        assert str(error).startswith(f"{path}: cannot be read: ")


def test_an_error_about_a_file_starts_with_its_path(make_dicom: MakeDicom, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(make_dicom(Rows=None))
    error = refusal(path)
    assert str(error) == f"{path}: {refusal(path.read_bytes())}"
    assert (error.reason, error.field, error.expected) == ("MISSING_ROWS_OR_COLUMNS", "Rows", "1 to 4096")


@pytest.mark.parametrize("explicit_lengths", [True, False])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_a_file_cut_off_anywhere_is_refused(
    make_dicom: MakeDicom, syntax: str, explicit_lengths: bool
) -> None:
    measures, groups = Dataset(), Dataset()
    measures.PixelSpacing = [2, 2]
    groups.PixelMeasuresSequence = [measures]
    data = make_dicom(
        syntax=syntax, explicit_lengths=explicit_lengths, SharedFunctionalGroupsSequence=[groups]
    )
    reasons = [refusal(data[:length]).reason for length in range(len(data))]
    pixels = data.index(struct.pack("<HH", 0x7FE0, 0x0010))
    assert set(reasons[:pixels]) <= {"NOT_DICOM", "NO_PIXEL_DATA"}
    assert reasons[pixels - 1] == "NOT_DICOM"
    assert set(reasons[-12:]) == {"TRUNCATED_PIXEL_DATA"}


def test_sequences_nested_without_end_are_refused(make_dicom: MakeDicom) -> None:
    level = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    level += struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    data = make_dicom()
    at = data.index(struct.pack("<HH", 0x0010, 0x0010))
    error = refusal(data[:at] + level * 50_000 + data[at:])
    assert error.reason == "NOT_DICOM"
    assert "nested" in str(error)


def with_empty_items(data: bytes, count: int) -> bytes:
    head = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * count
    at = data.index(struct.pack("<HH", 0x0010, 0x0010))
    return data[:at] + head + items + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0) + data[at:]


def test_items_that_nobody_asked_for_take_no_memory(make_dicom: MakeDicom) -> None:
    data = with_empty_items(make_dicom(), 20_000)
    read_slice(make_dicom())
    tracemalloc.start()
    try:
        read_slice(data)
        assert tracemalloc.get_traced_memory()[1] < 50_000
    finally:
        tracemalloc.stop()


def test_more_elements_than_any_object_has_are_refused(
    make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parser, "_MOST_ELEMENTS", 1000)
    assert isinstance(read_slice(with_empty_items(make_dicom(), 900)), Slice)
    assert "more than 1000 elements" in str(refusal(with_empty_items(make_dicom(), 1000)))


# Transfer syntaxes


def test_a_deflated_data_set_is_refused_before_it_is_inflated(
    make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = make_dicom(syntax=DeflatedExplicitVRLittleEndian)
    monkeypatch.setattr("zlib.decompress", lambda *_: pytest.fail("inflated"))
    error = refusal(data)
    assert (error.reason, error.field) == ("DEFLATED", "TransferSyntaxUID")


def test_a_transfer_syntax_that_is_not_supported_is_named(make_dicom: MakeDicom) -> None:
    error = refusal(make_dicom(syntax=MPEG2MPML, fragments=[b"film"]))
    assert (error.reason, error.field) == ("UNSUPPORTED_TRANSFER_SYNTAX", "TransferSyntaxUID")
    assert "MPEG2" in str(error)


@pytest.mark.parametrize("text", [b"Doe^Jane", b"Doe^Jane\n", b"\tDoe\n^Jane\r"])
def test_an_unknown_transfer_syntax_is_not_repeated(make_dicom: MakeDicom, text: bytes) -> None:
    data = make_dicom().replace(b"1.2.840.10008.1.2.1\0", text.ljust(20))
    error = refusal(data)
    assert error.reason == "UNSUPPORTED_TRANSFER_SYNTAX"
    assert "Doe" not in str(error)


def test_compressed_pixels_under_an_uncompressed_syntax_are_refused(make_dicom: MakeDicom) -> None:
    data = make_dicom(syntax=RLELossless, fragments=[b"abcd"])
    data = data.replace(b"UI\x14\x001.2.840.10008.1.2.5\0", b"UI\x14\x001.2.840.10008.1.2.1\0")
    error = refusal(data)
    assert error.reason == "UNDECODABLE"
    assert "they are compressed, and TransferSyntaxUID says otherwise" in str(error)


def test_uncompressed_pixels_under_a_compressed_syntax_are_refused(make_dicom: MakeDicom) -> None:
    data = make_dicom(syntax=RLELossless, fragments=[b"abcd"])
    undefined = data.index(b"OB\0\0\xff\xff\xff\xff") + 4
    length = struct.pack("<I", len(data) - undefined - 4)
    error = refusal(data[:undefined] + length + data[undefined + 4 :])
    assert error.reason == "UNDECODABLE"
    assert "they are uncompressed, and TransferSyntaxUID says otherwise" in str(error)


def test_compressed_pixels_without_meta_information_are_refused(make_dicom: MakeDicom) -> None:
    data = make_dicom(syntax=RLELossless, fragments=[b"abcd"])
    error = refusal(data[144 + struct.unpack("<I", data[140:144])[0] :])
    assert error.reason == "UNSUPPORTED_TRANSFER_SYNTAX"


@pytest.mark.parametrize(
    ("syntax", "module"),
    [(JPEGBaseline8Bit, "libjpeg"), (JPEGLSLossless, "libjpeg"), (JPEG2000Lossless, "openjpeg")],
)
def test_a_missing_decoder_says_what_to_install(
    make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch, syntax: str, module: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    stream = codestream_2000(2, 3) if module == "openjpeg" else codestream(2, 3)
    error = refusal(make_dicom(syntax=syntax, fragments=[stream]))
    assert error.reason == "MISSING_DECODER"
    assert f"pylibjpeg-{module}" in str(error)
    assert "pip install 'lvseg[serve]'" in str(error)


# Pixel data


def codestream(rows: int, columns: int, samples: int = 1, precision: int = 8) -> bytes:
    """Return the markers of a JPEG codestream: start, a comment, start of frame, a scan, end."""
    frame = struct.pack(">BHHB", precision, rows, columns, samples) + bytes(3 * samples)
    head = b"\xff\xd8\xff\xfe\0\4hi\xff\xff\xc1" + struct.pack(">H", 2 + len(frame)) + frame
    return head + b"\xff\xda\0\x08\1\1\0\0\x3f\0" + bytes(9) + b"\xff\xd9"


def codestream_2000(rows: int, columns: int, samples: int = 1, precision: int = 8) -> bytes:
    """Return the markers of a JPEG 2000 codestream: start, image and tile size, a tile-part, end."""
    size = struct.pack(">H8IH", 0, columns, rows, 0, 0, columns, rows, 0, 0, samples)
    size += bytes([precision - 1, 1, 1]) * samples
    head = b"\xff\x4f\xff\x51" + struct.pack(">H", 2 + len(size)) + size
    return head + b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 14, 0, 1) + b"\xff\x93\xff\xd9"


@pytest.mark.parametrize(
    ("make_codestream", "syntax"), [(codestream, JPEGBaseline8Bit), (codestream_2000, JPEG2000Lossless)]
)
@pytest.mark.parametrize(
    "stated", [(65535, 65535), (3, 2), (2, 3, 3), (2, 3, 1, 17)], ids=["huge", "turned", "colour", "17 bits"]
)
def test_a_codestream_that_differs_from_the_header_never_reaches_a_decoder(
    make_dicom: MakeDicom,
    monkeypatch: pytest.MonkeyPatch,
    make_codestream: Callable[..., bytes],
    syntax: str,
    stated: tuple[int, ...],
) -> None:
    monkeypatch.setattr("importlib.import_module", lambda _: pytest.fail("a decoder was asked for"))
    assert refusal(make_dicom(syntax=syntax, fragments=[make_codestream(*stated)])).reason == "UNDECODABLE"


@pytest.mark.parametrize("stream", [b"\xff", b"\xff\xd8", b"junk" * 20, b"\xff\xd8" + b"\xff" * 99])
@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_without_a_header_is_refused(make_dicom: MakeDicom, syntax: str, stream: bytes) -> None:
    assert refusal(make_dicom(syntax=syntax, fragments=[stream])).reason == "UNDECODABLE"


def test_compressed_pixels_of_no_bytes_are_no_pixels(make_dicom: MakeDicom) -> None:
    nothing = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
    data = make_dicom(syntax=JPEG2000Lossless, fragments=nothing * 2)
    assert refusal(data).reason == "NO_PIXEL_DATA"


def test_a_codestream_without_an_end_is_truncated(make_dicom: MakeDicom) -> None:
    data = make_dicom(syntax=JPEGBaseline8Bit, fragments=[codestream(2, 3)[:-2]])
    assert refusal(data).reason == "TRUNCATED_PIXEL_DATA"


def test_pixel_data_short_of_one_frame_of_several_are_truncated(make_dicom: MakeDicom) -> None:
    data = make_dicom(np.zeros((3, 2, 2), np.uint8), NumberOfFrames=4)
    error = refusal(data, frame=1)
    assert error.reason == "TRUNCATED_PIXEL_DATA"
    assert "12 of 16 bytes" in str(error)


def test_pixel_data_that_are_no_sequence_of_fragments_are_refused(make_dicom: MakeDicom) -> None:
    data = make_dicom(syntax=RLELossless, fragments=[b"abcd"])
    at = data.rindex(b"\xfe\xff\x00\xe0")
    error = refusal(data[:at] + b"text" + data[at + 4 :])
    assert error.reason == "UNDECODABLE"
    assert "malformed" in str(error)


def test_a_decoder_that_returns_another_size_is_not_trusted(
    make_dicom: MakeDicom, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("libjpeg.decode_pixel_data", lambda *_, **__: bytearray(5))
    data = make_dicom(syntax=JPEGBaseline8Bit, fragments=[codestream(2, 3)])
    assert "5 bytes, expected 6" in str(refusal(data))


RLE_FRAME = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([253, 5])


@pytest.mark.parametrize(
    "frame",
    [
        pytest.param(RLE_FRAME[:62], id="header cut off"),
        pytest.param(struct.pack("<16I", 2, 64, 65, *[0] * 13) + bytes([253, 5]), id="too many segments"),
        pytest.param(struct.pack("<16I", 1, 9999, *[0] * 14) + bytes([253, 5]), id="offset beyond the end"),
        pytest.param(RLE_FRAME[:64] + bytes([254, 5]), id="too few pixels"),
        pytest.param(RLE_FRAME[:64] + bytes([3, 5]), id="pixels cut off"),
    ],
)
def test_damaged_rle_is_refused(make_dicom: MakeDicom, frame: bytes) -> None:
    data = make_dicom(np.zeros((1, 4), np.uint8), syntax=RLELossless, fragments=[frame])
    assert refusal(data).reason == "UNDECODABLE"


def test_compressed_pixels_cut_off_anywhere_are_truncated(make_dicom: MakeDicom) -> None:
    data = make_dicom(np.zeros((1, 4), np.uint8), syntax=RLELossless, fragments=[RLE_FRAME])
    assert read_slice(data).pixels.tolist() == [[5, 5, 5, 5]]
    value = data.index(b"OB\0\0\xff\xff\xff\xff") + 8
    assert {refusal(data[:length]).reason for length in range(value, len(data))} == {"TRUNCATED_PIXEL_DATA"}


def test_several_fragments_of_several_frames_need_an_offset_table(make_dicom: MakeDicom) -> None:
    value = encapsulate([RLE_FRAME, RLE_FRAME], fragments_per_frame=2, has_bot=False)
    data = make_dicom(np.zeros((2, 1, 4), np.uint8), syntax=RLELossless, fragments=value)
    error = refusal(data, frame=1)
    assert error.reason == "UNDECODABLE"
    assert "offset table" in str(error)


def test_offsets_that_point_between_fragments_are_refused(make_dicom: MakeDicom) -> None:
    value = encapsulate([RLE_FRAME, RLE_FRAME], fragments_per_frame=2)
    wrong = value[:12] + struct.pack("<I", 7) + value[16:]
    data = make_dicom(np.zeros((2, 1, 4), np.uint8), syntax=RLELossless, fragments=wrong)
    assert refusal(data, frame=2).reason == "UNDECODABLE"


@pytest.mark.parametrize(("syntax", "plugin"), [(RLELossless, "pydicom"), (JPEG2000Lossless, "pylibjpeg")])
def test_damage_to_any_byte_gives_a_slice_or_a_clear_error(
    make_dicom: MakeDicom, syntax: str, plugin: str
) -> None:
    pixels = np.random.default_rng(1).integers(0, 4096, (32, 32)).astype(np.uint16)
    dataset = pydicom.dcmread(io.BytesIO(make_dicom(pixels, BitsStored=12)))
    dataset.compress(syntax, encoding_plugin=plugin)
    file = io.BytesIO()
    dataset.save_as(file)
    data = file.getvalue()
    refused = 0
    for position in range(0, len(data), 2):
        try:
            read_slice(data[:position] + b"\xff" + data[position + 1 :])
        except DicomError:
            refused += 1
    assert refused > 50


@pytest.mark.parametrize("start", [b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b"\0\0\0\0\0\1"])
def test_a_preamble_may_be_unused_or_that_of_a_tiff_file(make_dicom: MakeDicom, start: bytes) -> None:
    assert isinstance(read_slice(start.ljust(128, b"\0") + make_dicom()[128:]), Slice)


@pytest.mark.parametrize("start", [b"MZ\x90\0", b"\x7fELF", b"#!/bin/sh", b"%PDF-1.7", b"PK\3\4", b"<html>"])
def test_a_preamble_that_makes_a_file_something_else_too_is_refused(
    make_dicom: MakeDicom, start: bytes
) -> None:
    error = refusal(start.ljust(128, b"\0") + make_dicom()[128:])
    assert error.reason == "NOT_DICOM"
    assert "preamble" in str(error)


def test_what_accept_raises_comes_before_a_pixel_is_read(make_dicom: MakeDicom) -> None:
    def accept(shape: tuple[int, int], pixel_spacing: tuple[float, float]) -> None:
        assert (shape, pixel_spacing) == ((2, 3), (1.5, 1.25))
        raise DicomError("not this one", reason="REFUSED")

    with pytest.raises(DicomError, match="not this one"):
        read_slice(make_dicom(PixelData=b"no"), accept=accept)
