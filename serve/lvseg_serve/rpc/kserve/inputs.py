"""The tensors of a request as arrays, each held to what its model declares.

Names that are none of the model's are the caller's own and may say anything, so errors count the tensors instead.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb

from lvseg.errors import InputError
from lvseg_serve.rpc.kserve.parameters import refuse_parameters
from lvseg_serve.rpc.kserve.spec import ANY, TensorSpec


class _Form(NamedTuple):
    contents: str  # field of InferTensorContents that holds the values one by one
    dtype: str | None  # of the values as raw bytes; None: each has its own length


_FORMS = {
    "BYTES": _Form("bytes_contents", None),
    "FP32": _Form("fp32_contents", "<f4"),
    "FP64": _Form("fp64_contents", "<f8"),
    "UINT32": _Form("uint_contents", "<u4"),
}
_DATATYPES = frozenset(
    "BOOL UINT8 UINT16 UINT32 UINT64 INT8 INT16 INT32 INT64 FP16 FP32 FP64 BF16 BYTES".split()  # noqa: SIM905
)
"""Of the protocol, which errors repeat."""

_LENGTH_BYTES = 4  # before each element of a raw BYTES tensor, little-endian


def read_inputs(request: pb.ModelInferRequest, declared: Sequence[TensorSpec]) -> dict[str, NDArray[Any]]:
    """Return the inputs of a request by name; raw ones are views of the message.

    Args:
        request: Its tensors are either all in ``raw_input_contents`` or all in their own ``contents``.
        declared: What the model takes.

    Raises:
        InputError: If an input is unknown, missing or there twice, or has another type, shape or size.
    """
    known = {spec.name: spec for spec in declared}
    raws = _raw_contents(request)
    arrays: dict[str, NDArray[Any]] = {}
    for number, (tensor, raw) in enumerate(zip(request.inputs, raws, strict=True), start=1):
        spec = known.get(tensor.name)
        if spec is None:
            raise InputError(
                f"input number {number} is not one of this model, expected {', '.join(known)}; leave it out",
                reason="UNKNOWN_INPUT",
                field="inputs",
                expected=", ".join(known),
            )
        if tensor.name in arrays:
            raise _wrong(tensor.name, "came twice", "each input once", "REPEATED_INPUT", "send it once")
        arrays[tensor.name] = _read(tensor, spec, raw)
    for spec in declared:
        if not spec.optional and spec.name not in arrays:
            expected = f"{spec.datatype} of shape {list(spec.shape)}"
            raise _wrong(spec.name, "is missing", expected, "MISSING_INPUT", "send it")
    return arrays


def _raw_contents(request: pb.ModelInferRequest) -> Sequence[bytes | None]:
    raws: Sequence[bytes] = request.raw_input_contents
    if not raws:
        return [None] * len(request.inputs)
    if len(raws) != len(request.inputs):
        raise InputError(
            f"{len(raws)} raw_input_contents came for {len(request.inputs)} inputs; send one for each, in their order",
            reason="WRONG_COUNT",
            field="raw_input_contents",
            expected=f"{len(request.inputs)} raw_input_contents",
        )
    return raws


def _read(tensor: Any, spec: TensorSpec, raw: bytes | None) -> NDArray[Any]:
    refuse_parameters(f"input {spec.name!r}", tensor.parameters)
    if tensor.datatype != spec.datatype:
        found = tensor.datatype if tensor.datatype in _DATATYPES else "of no type of the protocol"
        raise _wrong(spec.name, f"is {found}", spec.datatype, "WRONG_TYPE", "convert it")
    shape = tuple(tensor.shape)
    if not _fits(shape, spec.shape):
        expected = f"{list(spec.shape)} with {ANY} for any side from 1 on"
        raise _wrong(spec.name, f"has shape {list(shape)}", expected, "WRONG_SHAPE", "reshape it")
    used = [field.name for field, _ in tensor.contents.ListFields()]
    if raw is None:
        return _from_contents(tensor.contents, used, spec, shape)
    if used:
        expected = "raw_input_contents or contents alone"
        raise _wrong(spec.name, f"came raw and in {used[0]}", expected, "TWO_CONTENTS", "send one of them")
    return _from_raw(raw, spec, shape)


def _fits(shape: Sequence[int], declared: Sequence[int]) -> bool:
    return len(shape) == len(declared) and all(
        side >= 1 if wanted == ANY else side == wanted for side, wanted in zip(shape, declared, strict=True)
    )


def _from_contents(
    contents: Any, used: Collection[str], spec: TensorSpec, shape: tuple[int, ...]
) -> NDArray[Any]:
    form = _FORMS[spec.datatype]
    if any(name != form.contents for name in used):
        found = f"came in {', '.join(used)}"
        raise _wrong(spec.name, found, form.contents, "WRONG_CONTENTS", "send it there or raw")
    values = getattr(contents, form.contents)
    _check_count(len(values), spec, shape)
    return np.array(values, dtype=form.dtype or object).reshape(shape)


def _from_raw(raw: bytes, spec: TensorSpec, shape: tuple[int, ...]) -> NDArray[Any]:
    form = _FORMS[spec.datatype]
    if form.dtype is None:
        elements = list(_elements(raw, spec, shape))
        _check_count(len(elements), spec, shape)
        return np.array(elements, dtype=object).reshape(shape)
    size = math.prod(shape) * np.dtype(form.dtype).itemsize
    if len(raw) != size:
        raise _wrong(
            spec.name,
            f"has {len(raw)} bytes for shape {list(shape)}",
            f"{size} bytes",
            "WRONG_SIZE",
            "send little-endian values in row-major order",
        )
    return np.frombuffer(raw, dtype=form.dtype).reshape(shape)


def _elements(raw: bytes, spec: TensorSpec, shape: tuple[int, ...]) -> Iterator[bytes]:
    at = 0
    for _ in range(math.prod(shape)):
        begin = at + _LENGTH_BYTES
        end = begin + int.from_bytes(raw[at:begin], "little")
        if end > len(raw):
            break
        yield raw[begin:end]
        at = end
    if at < len(raw):
        raise _wrong(
            spec.name,
            f"has {len(raw)} bytes that are not {math.prod(shape)} element(s)",
            f"each element after its length in {_LENGTH_BYTES} bytes, little-endian",
            "WRONG_SIZE",
            "send it so, or in bytes_contents",
        )


def _check_count(count: int, spec: TensorSpec, shape: tuple[int, ...]) -> None:
    expected = math.prod(shape)
    if count != expected:
        raise _wrong(
            spec.name,
            f"has {count} element(s) for shape {list(shape)}",
            f"{expected} element(s)",
            "WRONG_SIZE",
            "send as many as the shape says",
        )


def _wrong(name: str, found: str, expected: str, reason: str, remedy: str) -> InputError:
    return InputError(
        f"input {name!r} {found}, expected {expected}; {remedy}",
        reason=reason,
        field=name,
        expected=expected,
    )
