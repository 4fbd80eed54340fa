import io
import logging
import struct
from collections.abc import Callable
from pathlib import Path

import gdcm
import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels import apply_modality_lut
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from lvseg.dicom import read_slice
from lvseg.errors import DicomError

MakeDicom = Callable[..., bytes]

SHIPPED = Path(pydicom.data.data_manager.DATA_ROOT)


def rows_of(data: bytes, **options: object) -> list[list[float]]:
    return read_slice(data, **options).pixels.tolist()


# Stored values


@pytest.mark.parametrize(
    ("dtype", "bits_stored", "values"),
    [
        (np.uint8, 8, [0, 1, 127, 128, 254, 255]),
        (np.int8, 8, [-128, -1, 0, 1, 2, 127]),
        (np.uint16, 8, [0, 1, 127, 128, 254, 255]),
        (np.uint16, 12, [0, 1, 2047, 2048, 4094, 4095]),
        (np.int16, 12, [-2048, -1, 0, 1, 2, 2047]),
        (np.uint16, 16, [0, 1, 32767, 32768, 65534, 65535]),
        (np.int16, 16, [-32768, -1, 0, 1, 2, 32767]),
    ],
)
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_every_stored_value_comes_out_exactly(
    make_dicom: MakeDicom, dtype: type, bits_stored: int, values: list[int], syntax: str
) -> None:
    data = make_dicom(np.array(values, dtype).reshape(2, 3), syntax=syntax, BitsStored=bits_stored)
    pixels = read_slice(data).pixels
    assert pixels.dtype == np.float32
    assert pixels.tolist() == [values[:3], values[3:]]


def test_bits_above_those_stored_do_not_count(make_dicom: MakeDicom) -> None:
    unsigned = np.array([[0xF001, 0x0FFF]], np.uint16)
    assert rows_of(make_dicom(unsigned, BitsStored=12)) == [[1, 4095]]
    signed = np.array([[0x0FFF, 0x7001]], np.int16)  # 12 bits: -1 without its sign extended, and 1
    assert rows_of(make_dicom(signed, BitsStored=12)) == [[-1, 1]]


@pytest.mark.parametrize("vr", ["OB", "OW"])
def test_big_endian_bytes_are_in_order_in_every_frame_of_odd_length(make_dicom: MakeDicom, vr: str) -> None:
    frames = np.arange(9, dtype=np.uint8).reshape(3, 1, 3)
    data = make_dicom(frames, syntax=ExplicitVRBigEndian, vr=vr)
    assert [rows_of(data, frame=frame) for frame in (1, 2, 3)] == [[[0, 1, 2]], [[3, 4, 5]], [[6, 7, 8]]]


@pytest.mark.parametrize(
    ("values", "bits_stored", "inverted"),
    [
        (np.array([[0, 5, 4095]], np.uint16), 12, [4095, 4090, 0]),
        (np.array([[0, 5, 255]], np.uint8), 8, [255, 250, 0]),
        (np.array([[-2048, 0, 2047]], np.int16), 12, [2047, -1, -2048]),
    ],
)
def test_monochrome1_is_inverted_within_its_stored_range(
    make_dicom: MakeDicom, values: np.ndarray, bits_stored: int, inverted: list[int]
) -> None:
    data = make_dicom(values, PhotometricInterpretation="MONOCHROME1", BitsStored=bits_stored)
    assert rows_of(data) == [inverted]


# Modality LUT


def test_slope_and_intercept_are_applied(make_dicom: MakeDicom) -> None:
    data = make_dicom(np.array([[0, 1, 10]], np.uint16), RescaleSlope=0.5, RescaleIntercept=-1024)
    assert rows_of(data) == [[-1024, -1023.5, -1019]]


def test_monochrome1_is_inverted_before_the_rescale(make_dicom: MakeDicom) -> None:
    data = make_dicom(
        np.array([[0, 255]], np.uint8),
        PhotometricInterpretation="MONOCHROME1",
        RescaleSlope=2,
        RescaleIntercept=1,
    )
    assert rows_of(data) == [[511, 1]]


def test_a_slope_alone_has_the_intercept_zero(make_dicom: MakeDicom) -> None:
    assert rows_of(make_dicom(np.array([[0, 3]], np.uint8), RescaleSlope=2)) == [[0, 6]]


def lookup_table(descriptor: list[int], data: bytes) -> Dataset:
    table = Dataset()
    table.LUTDescriptor, table.LUTData = descriptor, data
    table["LUTData"].VR = "OW"
    return table


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_lookup_table_maps_values_and_holds_its_ends(make_dicom: MakeDicom, syntax: str) -> None:
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    table = lookup_table([3, 10, 16], struct.pack(f"{order}3H", 100, 40000, 7))
    data = make_dicom(
        np.array([[0, 10, 11, 12, 13]], np.uint16), syntax=syntax, ModalityLUTSequence=[table], vr="OW"
    )
    assert rows_of(data) == [[100, 100, 40000, 7, 7]]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_lookup_table_of_bytes_is_read_two_a_word(make_dicom: MakeDicom, syntax: str) -> None:
    data = bytes([5, 6, 7, 0]) if syntax == ExplicitVRLittleEndian else bytes([6, 5, 0, 7])
    table = lookup_table([3, 0, 8], data)
    image = make_dicom(np.array([[0, 1, 2, 3]], np.uint16), syntax=syntax, ModalityLUTSequence=[table])
    assert rows_of(image) == [[5, 6, 7, 7]]


def test_a_lookup_table_may_start_below_zero(make_dicom: MakeDicom) -> None:
    table = lookup_table([2, 0, 16], struct.pack("<2H", 1, 2))
    table["LUTDescriptor"].VR = "SS"
    table.LUTDescriptor = [2, -1, 16]
    data = make_dicom(np.array([[-5, -1, 0]], np.int16), ModalityLUTSequence=[table])
    assert rows_of(data) == [[1, 1, 2]]


def test_a_table_of_65536_entries_says_0(make_dicom: MakeDicom) -> None:
    table = lookup_table([0, 0, 16], np.arange(65536, dtype="<u2")[::-1].tobytes())
    assert rows_of(make_dicom(np.array([[0, 65535]], np.uint16), ModalityLUTSequence=[table])) == [[65535, 0]]


# Where and when


def test_geometry_phase_and_identity_are_read(make_dicom: MakeDicom) -> None:
    data = make_dicom(
        ImagePositionPatient=[-12.5, 30, 7.25],
        ImageOrientationPatient=[1, 0, 0, 0, 0.5, -0.5],
        SpacingBetweenSlices=10,
        TriggerTime=284.81,
        InstanceNumber=48,
    )
    found = read_slice(data)
    assert found.pixel_spacing == (1.5, 1.25)
    assert found.position_mm == (-12.5, 30, 7.25)
    assert found.orientation == (1, 0, 0, 0, 0.5, -0.5)
    assert (found.slice_spacing_mm, found.trigger_time_ms) == (10, 284.81)
    assert (found.instance_number, found.frame) == (48, 1)
    assert (found.study_instance_uid, found.series_instance_uid) == ("1.2", "1.2.3")
    assert (found.sop_instance_uid, found.frame_of_reference_uid) == ("1.2.3.4", "1.2.9")


def test_what_an_object_does_not_say_is_none_or_empty(make_dicom: MakeDicom) -> None:
    found = read_slice(make_dicom(FrameOfReferenceUID=None, InstanceNumber=None))
    assert (found.position_mm, found.orientation, found.slice_spacing_mm) == (None, None, None)
    assert (found.trigger_time_ms, found.instance_number, found.frame_of_reference_uid) == (None, None, "")


def test_unreadable_geometry_is_none_and_no_refusal(make_dicom: MakeDicom) -> None:
    data = make_dicom(
        ImagePositionPatient=[1.5, 2.75, 3.5],
        ImageOrientationPatient=[1, 0, 0],
        SpacingBetweenSlices=0,
        TriggerTime=284.8,
    )
    found = read_slice(data.replace(b"2.75", b"left").replace(b"284.8 ", b"inf   "))
    assert (found.position_mm, found.orientation) == (None, None)
    assert (found.slice_spacing_mm, found.trigger_time_ms) == (None, None)


def test_a_given_pixel_spacing_counts_where_the_object_has_none(make_dicom: MakeDicom) -> None:
    assert read_slice(make_dicom(PixelSpacing=None), pixel_spacing=(2, 3)).pixel_spacing == (2.0, 3.0)
    assert read_slice(make_dicom(PixelSpacing=""), pixel_spacing=(2, 3)).pixel_spacing == (2.0, 3.0)


def test_the_pixel_spacing_of_the_object_counts_where_it_has_one(make_dicom: MakeDicom) -> None:
    assert read_slice(make_dicom(), pixel_spacing=(2, 3)).pixel_spacing == (1.5, 1.25)


def test_the_text_of_a_slice_names_nobody(make_dicom: MakeDicom) -> None:
    shown = repr(read_slice(make_dicom(SOPInstanceUID="1.2.826.77")))
    assert "1.2.826.77" not in shown
    assert "Doe" not in shown


# Frames


def group(keyword: str, **values: object) -> Dataset:
    """Return functional groups with one macro of one item."""
    item, groups = Dataset(), Dataset()
    for name, value in values.items():
        setattr(item, name, value)
    setattr(groups, keyword, [item])
    return groups


def functional_groups(*parts: Dataset) -> Dataset:
    groups = Dataset()
    for part in parts:
        groups.update(part)
    return groups


def enhanced(frames: int) -> dict[str, object]:
    """Return the functional groups of an object whose frames differ in everything but their spacing."""
    return {
        "PixelSpacing": None,
        "SharedFunctionalGroupsSequence": [
            functional_groups(
                group("PixelMeasuresSequence", PixelSpacing=[0.75, 0.5], SpacingBetweenSlices=8),
                group("PlaneOrientationSequence", ImageOrientationPatient=[1, 0, 0, 0, 1, 0]),
            )
        ],
        "PerFrameFunctionalGroupsSequence": [
            functional_groups(
                group("PlanePositionSequence", ImagePositionPatient=[0, 0, 8 * frame]),
                group("CardiacSynchronizationSequence", NominalCardiacTriggerDelayTime=25.5 * frame),
                group("PixelValueTransformationSequence", RescaleSlope=frame, RescaleIntercept=100),
            )
            for frame in range(1, frames + 1)
        ],
    }


def test_a_frame_of_a_plain_multi_frame_object_is_read(make_dicom: MakeDicom) -> None:
    data = make_dicom(np.arange(12, dtype=np.int16).reshape(3, 2, 2))
    found = read_slice(data, frame=2)
    assert found.pixels.tolist() == [[4, 5], [6, 7]]
    assert (found.frame, found.pixel_spacing) == (2, (1.5, 1.25))


@pytest.mark.parametrize("explicit_lengths", [True, False])
@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_functional_groups_give_what_differs_between_frames_and_what_does_not(
    make_dicom: MakeDicom, syntax: str, explicit_lengths: bool
) -> None:
    pixels = np.arange(3, dtype=np.uint16).reshape(3, 1, 1)
    data = make_dicom(pixels, syntax=syntax, explicit_lengths=explicit_lengths, **enhanced(3))
    found = read_slice(data, frame=3)
    assert found.pixels.tolist() == [[2 * 3 + 100]]
    assert (found.pixel_spacing, found.slice_spacing_mm) == ((0.75, 0.5), 8)
    assert (found.position_mm, found.orientation) == ((0, 0, 24), (1, 0, 0, 0, 1, 0))
    assert found.trigger_time_ms == 76.5


def test_an_object_of_one_frame_needs_no_frame_number(make_dicom: MakeDicom) -> None:
    assert rows_of(make_dicom(np.array([[[1, 2]]], np.uint8))) == [[1, 2]]
    assert rows_of(make_dicom(np.array([[1, 2]], np.uint8), NumberOfFrames=0)) == [[1, 2]]
    assert rows_of(make_dicom(np.array([[1, 2]], np.uint8)), frame=1) == [[1, 2]]


# Compression


def compressed(data: bytes, syntax: str, plugin: str) -> bytes:
    """Return an object compressed by pydicom, with one of its encoders."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    dataset.compress(syntax, encoding_plugin=plugin, generate_instance_uid=False)
    file = io.BytesIO()
    dataset.save_as(file)
    return file.getvalue()


def compressed_by_gdcm(data: bytes, syntax: int, folder: Path) -> bytes:
    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(data)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(source))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(syntax))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(target))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return target.read_bytes()


STORED = [
    pytest.param(np.uint8, 8, id="uint8"),
    pytest.param(np.uint16, 12, id="12-bit"),
    pytest.param(np.int16, 12, id="12-bit-signed"),
    pytest.param(np.uint16, 16, id="uint16"),
    pytest.param(np.int16, 16, id="int16"),
]


def noise(dtype: type, bits_stored: int) -> np.ndarray:
    lowest = -(1 << bits_stored - 1) if np.dtype(dtype).kind == "i" else 0
    values = np.random.default_rng(1).integers(0, 1 << bits_stored, (33, 46)) + lowest
    values[0, :2] = lowest, lowest + (1 << bits_stored) - 1
    values[5:8] = 3  # long runs
    return values.astype(dtype)


@pytest.mark.parametrize(("dtype", "bits_stored"), STORED)
@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_rle_and_jpeg_2000_give_back_what_was_compressed(
    make_dicom: MakeDicom, dtype: type, bits_stored: int, syntax: str
) -> None:
    pixels = noise(dtype, bits_stored)
    plugin = "pydicom" if syntax == RLELossless else "pylibjpeg"
    data = compressed(make_dicom(pixels, BitsStored=bits_stored), syntax, plugin)
    np.testing.assert_array_equal(read_slice(data).pixels, pixels)


@pytest.mark.parametrize(("dtype", "bits_stored"), STORED)
@pytest.mark.parametrize(
    ("coder", "syntax"),
    [
        (gdcm.TransferSyntax.JPEGLosslessProcess14, JPEGLossless),
        (gdcm.TransferSyntax.JPEGLosslessProcess14_1, JPEGLosslessSV1),
        (gdcm.TransferSyntax.JPEGLSLossless, JPEGLSLossless),
    ],
    ids=["jpeg-lossless", "jpeg-lossless-sv1", "jpeg-ls"],
)
def test_jpeg_lossless_and_jpeg_ls_give_back_what_was_compressed(
    make_dicom: MakeDicom, tmp_path: Path, dtype: type, bits_stored: int, coder: int, syntax: str
) -> None:
    pixels = noise(dtype, bits_stored)
    data = compressed_by_gdcm(make_dicom(pixels, BitsStored=bits_stored), coder, tmp_path)
    assert syntax.encode() in data
    np.testing.assert_array_equal(read_slice(data).pixels, pixels)


def test_baseline_jpeg_is_read_to_within_its_loss(make_dicom: MakeDicom) -> None:
    pixels = np.full((16, 16), 64, np.uint8)
    pixels[:, 8:] = 192
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=95)
    data = make_dicom(pixels, syntax=JPEGBaseline8Bit, fragments=[file.getvalue()])
    assert np.abs(read_slice(data).pixels - pixels).max() <= 1


def test_monochrome1_is_inverted_when_compressed_too(make_dicom: MakeDicom) -> None:
    data = make_dicom(
        np.array([[0, 5, 4095]], np.uint16), PhotometricInterpretation="MONOCHROME1", BitsStored=12
    )
    assert rows_of(compressed(data, RLELossless, "pydicom")) == [[4095, 4090, 0]]


def rle(value: int) -> bytes:
    """Return a 1 x 4 frame of one 8-bit value: a header of one segment, and a run of four bytes."""
    return struct.pack("<16I", 1, 64, *[0] * 14) + bytes([253, value])


def test_rle_has_literal_runs_repeated_bytes_and_fillers(make_dicom: MakeDicom) -> None:
    # PS3.5, G.3.1: 128 does nothing; 1: two bytes follow; 255: the next byte twice
    frame = rle(0)[:64] + bytes([128, 1, 7, 8, 255, 9])
    assert rows_of(make_dicom(four_wide(1), syntax=RLELossless, fragments=[frame])) == [[7, 8, 9, 9]]


def four_wide(frames: int) -> np.ndarray:
    return np.zeros((frames, 1, 4), np.uint8)


def test_no_frame_but_the_chosen_one_is_decoded(make_dicom: MakeDicom) -> None:
    data = make_dicom(four_wide(3), syntax=RLELossless, fragments=[b"junk", rle(7), b"more"])
    assert rows_of(data, frame=2) == [[7, 7, 7, 7]]


@pytest.mark.parametrize("has_offsets", [True, False])
def test_frames_of_one_fragment_each_are_found_without_offsets(
    make_dicom: MakeDicom, has_offsets: bool
) -> None:
    value = encapsulate([rle(1), rle(2), rle(3)], has_bot=has_offsets)
    data = make_dicom(four_wide(3), syntax=RLELossless, fragments=value)
    assert [rows_of(data, frame=frame)[0][0] for frame in (1, 2, 3)] == [1, 2, 3]


def test_frames_of_several_fragments_are_found_by_the_offset_table(make_dicom: MakeDicom) -> None:
    value = encapsulate([rle(1), rle(2), rle(3)], fragments_per_frame=2)
    data = make_dicom(four_wide(3), syntax=RLELossless, fragments=value)
    assert [rows_of(data, frame=frame)[0][0] for frame in (1, 2, 3)] == [1, 2, 3]


def test_frames_are_found_by_the_extended_offset_table(make_dicom: MakeDicom) -> None:
    value, offsets, lengths = encapsulate_extended([rle(1), rle(2)])
    spare = struct.pack("<HHI", 0xFFFE, 0xE000, 0)  # an empty fragment of the last frame
    data = make_dicom(
        four_wide(2),
        syntax=RLELossless,
        fragments=value + spare,
        ExtendedOffsetTable=offsets,
        ExtendedOffsetTableLengths=lengths,
    )
    assert [rows_of(data, frame=frame)[0][0] for frame in (1, 2)] == [1, 2]


def test_fragments_of_the_only_frame_belong_together(make_dicom: MakeDicom) -> None:
    value = encapsulate([rle(9)], fragments_per_frame=3, has_bot=False)
    assert rows_of(make_dicom(four_wide(1), syntax=RLELossless, fragments=value)) == [[9, 9, 9, 9]]


# Files that break rules


def test_a_path_gives_the_same_slice_as_its_bytes(make_dicom: MakeDicom, tmp_path: Path) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(make_dicom())
    assert (
        read_slice(path).pixels.tolist()
        == read_slice(str(path)).pixels.tolist()
        == rows_of(path.read_bytes())
    )


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
def test_a_data_set_without_preamble_and_meta_information_is_read(make_dicom: MakeDicom, syntax: str) -> None:
    data = make_dicom(np.array([[1, 258]], np.uint16), syntax=syntax)
    length = struct.unpack("<I", data[140:144])[0]  # of the meta information, after its first element
    assert rows_of(data[144 + length :]) == [[1, 258]]


def test_a_file_without_preamble_is_read(make_dicom: MakeDicom) -> None:
    assert rows_of(make_dicom(np.array([[1, 258]], np.uint16))[132:]) == [[1, 258]]


@pytest.mark.parametrize(
    ("declared", "written"),
    [(ExplicitVRLittleEndian, ImplicitVRLittleEndian), (ImplicitVRLittleEndian, ExplicitVRLittleEndian)],
)
def test_vrs_count_as_they_are_written_not_as_they_are_declared(
    make_dicom: MakeDicom, declared: str, written: str
) -> None:
    wanted, other = (make_dicom(np.array([[1, 258]], np.uint16), syntax=uid) for uid in (written, declared))
    start, end = (144 + struct.unpack("<I", data[140:144])[0] for data in (wanted, other))
    assert rows_of(other[:end] + wanted[start:]) == [[1, 258]]


def test_warts_of_real_files_are_read_in_silence(
    make_dicom: MakeDicom, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    data = make_dicom(
        SpecificCharacterSet="ISO_IR 100", PatientName="Müller", StudyDate="20120101", InstanceNumber=7
    )
    data = data.replace(b"ISO_IR 100", b"ISO-IR 1xx").replace(b"20120101", b"20120000")
    data = data.replace(b"1.2.3.4\0", b"1.02.3.4")
    found = read_slice(data)
    assert found.sop_instance_uid == "1.02.3.4"
    assert found.instance_number == 7
    assert caplog.records == []


def test_private_sequences_of_undefined_length_are_passed_over(make_dicom: MakeDicom) -> None:
    def element(tag: int, vr: bytes, length: int) -> bytes:
        return struct.pack("<HH2sHI", tag >> 16, tag & 0xFFFF, vr, 0, length)

    def item(length: int) -> bytes:
        return struct.pack("<HHI", 0xFFFE, 0xE000, length)

    undefined, end_of_item, end = 0xFFFFFFFF, b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
    icon = element(0x7FE00010, b"OB", undefined) + item(0) + item(4) + b"abcd" + end
    inner = element(0x00091002, b"SQ", undefined) + item(undefined) + icon + end_of_item + end
    implicit = struct.pack("<HHI", 0x0009, 0x1003, 4) + b"text"
    outer = element(0x00091001, b"UN", undefined) + item(undefined) + inner + implicit + end_of_item + item(2)
    data = make_dicom(np.array([[1, 2]], np.uint8))
    at = data.index(struct.pack("<HH2s", 0x0010, 0x0010, b"PN"))
    assert rows_of(data[:at] + outer + b"xy" + end + data[at:]) == [[1, 2]]


# Real files


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("MR_small_RLE.dcm", id="rle"),
        pytest.param("MR_small_jp2klossless.dcm", id="jpeg-2000"),
        pytest.param("MR_small_jpeg_ls_lossless.dcm", id="jpeg-ls"),
        pytest.param("MR_small_bigendian.dcm", id="big-endian"),
        pytest.param("MR_small_implicit.dcm", id="implicit"),
        pytest.param("MR_small_padded.dcm", id="padded"),
    ],
)
def test_an_mr_image_is_the_same_in_every_encoding(name: str) -> None:
    plain = read_slice(get_testdata_file("MR_small.dcm")).pixels
    np.testing.assert_array_equal(read_slice(get_testdata_file(name)).pixels, plain)


def shipped_files() -> list[Path]:
    return [
        path for path in sorted(SHIPPED.rglob("*")) if path.is_file() and path.suffix not in (".py", ".pyc")
    ]


def test_every_file_that_pydicom_ships_gives_a_slice_or_a_clear_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reasons: dict[str, str] = {}
    for path in shipped_files():
        try:
            read_slice(path, pixel_spacing=(1, 1))
        except DicomError as error:
            reasons[path.name] = error.reason
    assert len(shipped_files()) - len(reasons) > 50
    assert reasons["MR_truncated.dcm"] == "TRUNCATED_PIXEL_DATA"
    assert reasons["image_dfl.dcm"] == "DEFLATED"
    assert reasons["README.txt"] == "NOT_DICOM"
    assert reasons["rtplan_truncated.dcm"] == "NOT_DICOM"
    assert reasons["rtplan.dcm"] == "NO_PIXEL_DATA"
    assert reasons["SC_rgb_rle.dcm"] == "COLOUR"
    assert reasons["examples_palette.dcm"] == "COLOUR"
    assert reasons["rtdose.dcm"] == "UNSUPPORTED_PIXEL_FORMAT"
    assert caplog.records == []


@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, about the files
def test_pixels_equal_those_that_pydicom_reads() -> None:
    compared = 0
    for path in shipped_files():
        try:
            found = read_slice(path, pixel_spacing=(1, 1))
        except DicomError:
            continue
        dataset = pydicom.dcmread(path)
        if dataset.PhotometricInterpretation == "MONOCHROME2":
            expected = apply_modality_lut(dataset.pixel_array, dataset).astype(np.float32)
            np.testing.assert_array_equal(found.pixels, expected, err_msg=path.name)
            compared += 1
    assert compared > 50


def test_all_real_slices_are_read_without_a_word(sunnybrook: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    slices = [read_slice(path) for path in sorted(sunnybrook.rglob("*.dcm"))]
    assert len(slices) == 254
    assert {found.pixels.shape for found in slices} == {(256, 256)}
    assert all(found.position_mm and found.orientation and found.sop_instance_uid for found in slices)
    assert caplog.records == []
