"""What the fuzzer looks for at length, in ten seconds: hypothesis takes real headers and small codestreams apart.

What it found once, and what a long run of ``fuzz/run.py`` found, is kept in ``crashes``, one folder for each property.
"""

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.tag import Tag
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless, RLELossless

from fuzz import properties
from fuzz.hostile import before_patient, field, item, jpeg, jpeg_2000, make_slice, sequence
from fuzz.seeds import SEEDS
from lvseg_api.v1 import segmentation_pb2 as pb

CRASHES = Path(__file__).with_name("crashes")
QUICK = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
MEMORY_BYTES = 32 * 2**20
"""A slice of 64 x 64 pixels has 16 kB, and Python's part of decoding the largest that is made here a few MB."""

FILES = SEEDS["dicom"]()
numbers = st.sampled_from([-1, 0, 1, 2, 3, 7, 8, 12, 16, 17, 64, 255, 4096, 4097, 65535])
texts = st.sampled_from(["", "0", "-1", "1e308", "1e-308", "nan", "inf", "1_5", "4096", "9" * 400, "1\\2\\3"])
edits = st.lists(
    st.tuples(st.integers(0, 2**16), st.sampled_from([0, 1, 4, 8, 64]), st.binary(max_size=8)), max_size=4
)


def edited(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """Replace as many bytes as each change says, from where it says, by those that it has."""
    for where, length, content in changes:
        at = where % (len(data) + 1)
        data = data[:at] + content + data[at + length :]
    return data


def held(target: str, data: bytes) -> str:
    tracemalloc.start()
    try:
        reason: str = getattr(properties, target)(data)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_BYTES
    finally:
        tracemalloc.stop()
    return reason


@QUICK
@given(st.sampled_from(sorted(FILES)), edits)
def test_a_real_file_with_damage_gives_a_slice_or_a_reason(name: str, changes: list) -> None:
    held("dicom", edited(FILES[name], changes))


@QUICK
@given(
    st.dictionaries(
        st.sampled_from(["Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "SamplesPerPixel"]),
        numbers,
    ),
    st.dictionaries(
        st.sampled_from(
            ["PixelSpacing", "NumberOfFrames", "RescaleSlope", "RescaleIntercept", "InstanceNumber"]
        ),
        texts,
    ),
    edits,
)
def test_a_header_of_odd_values_gives_a_slice_or_a_reason(
    binary: dict[str, int], text: dict[str, str], changes: list
) -> None:
    elements = [
        element(keyword, b"US", struct.pack("<H", value & 65535)) for keyword, value in binary.items()
    ]
    elements += [element(keyword, b"LO", value.encode()) for keyword, value in text.items()]
    good = make_slice(64, 64)
    pixels = good.rindex(struct.pack("<HH", 0x7FE0, 0x0010))  # of two elements of one tag the last one counts
    held("dicom", edited(good[:pixels] + b"".join(elements) + good[pixels:], changes))


def element(keyword: str, vr: bytes, value: bytes) -> bytes:
    tag = Tag(keyword)
    return struct.pack("<HH2sH", tag.group, tag.element, vr, len(value)) + value


@QUICK
@given(st.recursive(st.binary(max_size=12), lambda inner: st.lists(inner, max_size=3), max_leaves=20), edits)
def test_sequences_of_any_shape_give_a_slice_or_a_reason(tree: bytes | list, changes: list) -> None:
    def written(node: bytes | list) -> bytes:
        if isinstance(node, bytes):
            return node
        return b"".join(sequence(item(0xFFFFFFFF) + written(child)) for child in node)

    held("dicom", edited(before_patient(make_slice(8, 8), written(tree)), changes))


@QUICK
@given(
    st.sampled_from([JPEGBaseline8Bit, JPEGLosslessSV1, JPEGLSLossless]),
    st.sampled_from([0xC0, 0xC1, 0xC2, 0xC3, 0xF7]),
    st.binary(max_size=64),
    edits,
)
def test_a_damaged_jpeg_gives_a_slice_or_a_reason(
    syntax: str, process: int, scan: bytes, changes: list
) -> None:
    held(
        "dicom",
        make_slice(
            8,
            8,
            syntax=syntax,
            fragments=[edited(jpeg(8, 8, process=process, scan=scan), changes) or b"\xff\xd8"],
        ),
    )


@QUICK
@given(
    st.sampled_from([None, 1, 3, 8]),
    st.sampled_from([0, 1, 5, 32, 33]),
    st.integers(0, 15),
    st.binary(max_size=6),
    edits,
)
def test_a_damaged_jpeg_2000_gives_a_slice_or_a_reason(
    tile: int | None, levels: int, block: int, precincts: bytes, changes: list
) -> None:
    codestream = jpeg_2000(64, 64, tile=tile, levels=levels, block=block, precincts=precincts)
    held(
        "dicom",
        make_slice(64, 64, syntax=JPEG2000Lossless, fragments=[edited(codestream, changes) or b"\xff\x4f"]),
    )


@QUICK
@given(st.binary(max_size=200))
def test_damaged_rle_gives_a_slice_or_a_reason(content: bytes) -> None:
    head = bytes([2, 0, 0, 0, 64, 0, 0, 0, 80]) + bytes(55)
    held("dicom", make_slice(8, 8, syntax=RLELossless, fragments=[head + content]))


@QUICK
@given(
    st.lists(st.lists(texts | st.floats(allow_subnormal=True).map(str), max_size=3).map(" ".join), max_size=9)
)
def test_lines_of_odd_numbers_give_a_mask_or_a_reason(lines: list[str]) -> None:
    held("contour", "\n".join(lines).encode())


@QUICK
@given(st.integers(0, 9), st.binary(max_size=64), edits)
def test_a_damaged_message_gives_a_slice_or_a_reason(number: int, content: bytes, changes: list) -> None:
    message = pb.SegmentRequest(dicom=make_slice(8, 8)).SerializeToString()
    held("request", edited(field(number, content) + message, changes))


@pytest.mark.parametrize(
    "path", sorted(CRASHES.glob("*/*")), ids=lambda path: f"{path.parent.name}-{path.name}"
)
def test_what_broke_a_promise_once_does_so_no_more(path: Path) -> None:
    held(path.parent.name, path.read_bytes())
