"""Caffe's binary ``.caffemodel``, read and written without Caffe."""

import math
import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from lvseg.errors import WeightsError
from lvseg.models.pretrained.wire import (
    DELIMITED,
    FIXED32,
    FIXED64,
    VARINT,
    Message,
    WireError,
    delimited,
    header,
    varint,
)
from lvseg.whole_files import whole_file

Blob = NDArray[np.float32] | NDArray[np.float64]

# Field numbers of src/caffe/proto/caffe.proto.
_NET_NAME, _NET_V1_LAYERS, _NET_LAYER = 1, 2, 100
_LAYER_NAME, _LAYER_TYPE, _LAYER_BLOBS = 1, 2, 7
_V1_V0_LAYER, _V1_NAME, _V1_BLOBS = 1, 4, 6
_BLOB_LEGACY_SHAPE = (1, 2, 3, 4)  # num, channels, height, width
_BLOB_DATA, _BLOB_SHAPE, _BLOB_DOUBLE_DATA = 5, 7, 8
_SHAPE_DIM = 1
_LARGEST_DIMENSION = 2**31 - 1


@dataclass(frozen=True)
class CaffeModel:
    """The layers of a net that have weights, by name."""

    name: str
    layers: Mapping[str, Sequence[Blob]]
    """A layer's blobs: weight, then bias where it has one."""
    types: Mapping[str, str] = field(default_factory=dict)
    """Types of layers, such as ``"Convolution"``, where the file says them in words."""


def read_caffemodel(path: Path) -> CaffeModel:
    """Read a net's weights: both generations of layers, both ways to say a blob's shape, packed or not.

    The file is mapped into memory, and the blobs are read-only views of it: a file of any size takes none.

    Raises:
        WeightsError: If the file is broken, cut off or of another kind.
    """
    with path.open("rb") as file:
        if file.seek(0, 2) == 0:
            raise _broken(path, "it is empty")
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    try:
        model = _net(Message(data, 0, len(data)))
    except (WireError, UnicodeDecodeError) as error:
        raise _broken(path, str(error)) from error
    if not model.layers:
        raise _broken(path, "it holds no layer with weights")
    return model


def _broken(path: Path, why: str) -> WeightsError:
    return WeightsError(
        f"{path} is not a .caffemodel, or a broken one: {why}; get the file again, or give the weights "
        "themselves (no prototxt, no solverstate)",
        reason="BROKEN_WEIGHTS",
    )


def _net(net: Message) -> CaffeModel:
    name = ""
    layers: dict[str, Sequence[Blob]] = {}
    types: dict[str, str] = {}
    for number, kind, value in net.fields():
        if number == _NET_NAME:
            name = _text(kind, value)
        elif number in (_NET_LAYER, _NET_V1_LAYERS):
            layer = _layer if number == _NET_LAYER else _v1_layer
            layer_name, layer_type, blobs = layer(_message(kind, value))
            if blobs and layer_name in layers:
                raise WireError(f"two layers named {layer_name} have weights")
            if blobs:
                layers[layer_name] = blobs
                types[layer_name] = layer_type
    return CaffeModel(name, layers, types)


def _layer(layer: Message) -> tuple[str, str, list[Blob]]:
    name, type_, blobs = "", "", []
    for number, kind, value in layer.fields():
        if number == _LAYER_NAME:
            name = _text(kind, value)
        elif number == _LAYER_TYPE:
            type_ = _text(kind, value)
        elif number == _LAYER_BLOBS:
            blobs.append(_blob(_message(kind, value)))
    return name, type_, blobs


def _v1_layer(layer: Message) -> tuple[str, str, list[Blob]]:
    name, blobs = "", []
    for number, kind, value in layer.fields():
        if number == _V1_V0_LAYER:
            raise WireError("its layers are of Caffe's first generation; run upgrade_net_proto_binary on it")
        if number == _V1_NAME:
            name = _text(kind, value)
        elif number == _V1_BLOBS:
            blobs.append(_blob(_message(kind, value)))
    return name, "", blobs


def _blob(blob: Message) -> Blob:
    shape: list[int] | None = None
    legacy: dict[int, int] = {}
    parts: list[Blob] = []
    for number, kind, value in blob.fields():
        if number == _BLOB_SHAPE:
            shape = [] if shape is None else shape
            shape.extend(_dimensions(_message(kind, value)))
        elif number in _BLOB_LEGACY_SHAPE and kind == VARINT and isinstance(value, int):
            legacy[number] = value
        elif number in (_BLOB_DATA, _BLOB_DOUBLE_DATA):
            parts.append(_numbers(kind, value, "<f4" if number == _BLOB_DATA else "<f8"))
    if shape is None:
        shape = [legacy.get(number, 0) for number in _BLOB_LEGACY_SHAPE]
    values: Blob = parts[0] if len(parts) == 1 else np.concatenate([*parts, np.empty(0, np.float32)])
    if math.prod(shape) != values.size or max(shape, default=1) > _LARGEST_DIMENSION:
        raise WireError(
            f"a blob of shape {' x '.join(map(str, shape))} needs {math.prod(shape)} values and has {values.size}"
        )
    return values.reshape(shape)


def _dimensions(shape: Message) -> Iterator[int]:
    for number, kind, value in shape.fields():
        if number != _SHAPE_DIM:
            continue
        if isinstance(value, int):
            yield value
        elif kind == DELIMITED:
            position = value.start
            while position < value.end:
                dimension, position = value.varint(position)
                yield dimension


def _numbers(kind: int, value: int | Message, dtype: str) -> Blob:
    size = np.dtype(dtype).itemsize
    fixed = FIXED32 if size == 4 else FIXED64
    if isinstance(value, int) or kind not in (DELIMITED, fixed):
        raise WireError(f"numbers of {size} bytes are written as wire type {kind}")
    if kind == DELIMITED:
        if len(value) % size:
            raise WireError(f"byte {value.start}: {len(value)} bytes are no list of numbers of {size} bytes")
        packed: Blob = np.frombuffer(value.bytes(), dtype)
        return packed
    # Both fields' tags are one byte long.
    tagged = np.frombuffer(value.bytes(), np.dtype([("tag", "u1"), ("value", dtype)]))
    unpacked: Blob = tagged["value"]
    return unpacked


def _message(kind: int, value: int | Message) -> Message:
    if kind != DELIMITED or isinstance(value, int):
        raise WireError(f"a message or a text is written as wire type {kind}")
    return value


def _text(kind: int, value: int | Message) -> str:
    return str(_message(kind, value).bytes(), "utf-8")


def write_caffemodel(path: Path, model: CaffeModel) -> None:
    """Write a net's weights as Caffe of today does: ``layer`` messages, blobs with ``shape``, packed floats.

    It is written a blob at a time, whole or not at all.

    Raises:
        OSError: If it cannot be written; the error names ``path``.
    """
    with whole_file(path) as file:
        file.write(delimited(_NET_NAME, model.name.encode()))
        for name, blobs in model.layers.items():
            _write_layer(file, name, model.types.get(name, ""), blobs)


def _write_layer(file: IO[bytes], name: str, type_: str, blobs: Sequence[Blob]) -> None:
    start = delimited(_LAYER_NAME, name.encode()) + delimited(_LAYER_TYPE, type_.encode())
    shapes = [
        delimited(_BLOB_SHAPE, delimited(_SHAPE_DIM, b"".join(map(varint, blob.shape)))) for blob in blobs
    ]
    data = [header(_BLOB_DATA, 4 * blob.size) for blob in blobs]
    sizes = [
        len(shape) + len(start_of_data) + 4 * blob.size
        for shape, start_of_data, blob in zip(shapes, data, blobs, strict=True)
    ]
    heads = [header(_LAYER_BLOBS, size) for size in sizes]
    file.write(header(_NET_LAYER, len(start) + sum(map(len, heads)) + sum(sizes)))
    file.write(start)
    for head, shape, start_of_data, blob in zip(heads, shapes, data, blobs, strict=True):
        file.write(head + shape + start_of_data)
        file.write(np.ascontiguousarray(blob, "<f4").data)
