"""Which outputs a request wants, and the message that carries them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as pb

from lvseg.errors import InputError
from lvseg_serve.answers import ModelIdentity
from lvseg_serve.rpc.kserve.parameters import refuse_parameters
from lvseg_serve.rpc.kserve.spec import VERSION, Answer, Model, TensorSpec


def wanted_outputs(request: pb.ModelInferRequest, declared: Sequence[TensorSpec]) -> list[TensorSpec]:
    """Return the outputs that a request names, in its order; all of them where it names none.

    Raises:
        InputError: If one is unknown or named twice, or is asked for in a way that is not supported.
    """
    known = {spec.name: spec for spec in declared}
    wanted: dict[str, TensorSpec] = {}
    for number, output in enumerate(request.outputs, start=1):
        if output.name not in known or output.name in wanted:
            found = "was asked for before" if output.name in wanted else "is not one of this model"
            raise InputError(
                f"output number {number} {found}, expected some of {', '.join(known)}; ask for those that you want",
                reason="UNKNOWN_OUTPUT",
                field="outputs",
                expected=", ".join(known),
            )
        refuse_parameters(f"output {output.name!r}", output.parameters)
        wanted[output.name] = known[output.name]
    return list(wanted.values()) or list(declared)


def to_infer_response(
    request: pb.ModelInferRequest,
    model: Model,
    answer: Answer,
    wanted: Sequence[TensorSpec],
) -> pb.ModelInferResponse:
    """Return the message that carries an answer: raw tensors, and in its parameters what computed them."""
    response = pb.ModelInferResponse(model_name=model.name, model_version=VERSION, id=request.id)
    for name, value in identity_parameters(answer.model).items():
        response.parameters[name].string_param = value
    for spec in wanted:
        tensor = answer.tensors[spec.name]
        response.outputs.add(name=spec.name, datatype=spec.datatype, shape=tensor.shape)
        response.raw_output_contents.append(_raw(tensor))
    return response


def identity_parameters(identity: ModelIdentity) -> dict[str, str]:
    """Return what the protocol has no field for: the bundle's version, the file and the engine."""
    return {
        "bundle_version": identity.version,
        "sha256": identity.sha256,
        "engine": identity.engine,
        "engine_version": identity.engine_version,
        "precision": identity.precision,
    }


def _raw(tensor: NDArray[Any]) -> bytes:
    little_endian = tensor.dtype.newbyteorder("<")
    return np.asarray(tensor, dtype=little_endian).tobytes()
