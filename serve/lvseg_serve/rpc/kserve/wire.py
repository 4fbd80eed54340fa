"""From the bytes of a request for inference to its message: what would grow in memory is counted before it is parsed.

An empty input is two bytes on the wire and some hundred as a message; a whole number is one byte and eight. Values of a
fixed size, and raw ones, take what they take on the wire.
"""

from tritonclient.grpc import service_pb2 as pb

from lvseg_serve.rpc.wire import fields, malformed, parse

_MOST_BYTES_BESIDE_VALUES = 2**16
"""Names, shapes, parameters and whole numbers of a request; this server's models need some hundred bytes."""

_REQUEST = pb.ModelInferRequest.DESCRIPTOR.fields_by_name
_TENSOR = pb.ModelInferRequest.InferInputTensor.DESCRIPTOR.fields_by_name
_CONTENTS = pb.InferTensorContents.DESCRIPTOR.fields_by_name
_INPUTS, _RAW, _OF_TENSOR = (
    _REQUEST["inputs"].number,
    _REQUEST["raw_input_contents"].number,
    _TENSOR["contents"].number,
)
_VALUES = {_CONTENTS[name].number for name in ("fp32_contents", "fp64_contents", "bytes_contents")}


def parse_infer_request(data: bytes) -> pb.ModelInferRequest:
    """Return the message that bytes hold.

    Raises:
        InputError: ``MALFORMED_MESSAGE``, if they hold none, or one of more than any request needs.
    """
    if _beside_values(memoryview(data)) > _MOST_BYTES_BESIDE_VALUES:
        raise malformed(f"it has more than {_MOST_BYTES_BESIDE_VALUES} bytes beside its values")
    return parse(pb.ModelInferRequest, data)


def _beside_values(request: memoryview) -> int:
    beside = 0
    for field in fields(request):
        if field.number == _INPUTS:
            beside += _beside_values_of_input(field.content)
        elif field.number != _RAW:
            beside += len(field.content)
    return beside


def _beside_values_of_input(tensor: memoryview) -> int:
    beside = 0
    for field in fields(tensor):
        if field.number == _OF_TENSOR:
            beside += sum(
                len(values.content) for values in fields(field.content) if values.number not in _VALUES
            )
        else:
            beside += len(field.content)
    return beside
