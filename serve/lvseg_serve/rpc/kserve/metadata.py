"""What the server and its models say of themselves, as the protocol and Triton's extensions of it put it."""

from collections.abc import Sequence

from tritonclient.grpc import model_config_pb2, service_pb2

from lvseg_serve.answers import ServerInfo
from lvseg_serve.rpc.kserve.outputs import identity_parameters
from lvseg_serve.rpc.kserve.spec import VERSION, Model, TensorSpec

_PLATFORM = "lvseg"
_EXTENSIONS = ("model_configuration", "statistics")


def to_server_metadata(info: ServerInfo) -> service_pb2.ServerMetadataResponse:
    """Return what the server is."""
    return service_pb2.ServerMetadataResponse(
        name=_PLATFORM, version=info.versions["lvseg"], extensions=_EXTENSIONS
    )


def to_model_metadata(model: Model) -> service_pb2.ModelMetadataResponse:
    """Return a model's tensors, with the batch in their shapes."""
    return service_pb2.ModelMetadataResponse(
        name=model.name,
        versions=[VERSION],
        platform=_PLATFORM,
        inputs=_tensors(model.inputs),
        outputs=_tensors(model.outputs),
    )


def to_model_config(model: Model, info: ServerInfo) -> service_pb2.ModelConfigResponse:
    """Return a model's configuration in Triton's form, whose shapes leave the batch out."""
    batch_sides = 1 if model.max_batch else 0
    config = model_config_pb2.ModelConfig(
        name=model.name,
        platform=_PLATFORM,
        backend=_PLATFORM,
        max_batch_size=model.max_batch,
        input=[
            model_config_pb2.ModelInput(
                name=spec.name,
                data_type=_data_type(spec),
                dims=spec.shape[batch_sides:],
                optional=spec.optional,
            )
            for spec in model.inputs
        ],
        output=[
            model_config_pb2.ModelOutput(
                name=spec.name, data_type=_data_type(spec), dims=spec.shape[batch_sides:]
            )
            for spec in model.outputs
        ],
    )
    parameters = {
        **identity_parameters(info.model),
        "architecture": info.architecture,
        "working_spacing_mm": f"{info.working_spacing_mm:g}",
    }
    for name, value in parameters.items():
        config.parameters[name].string_value = value
    return service_pb2.ModelConfigResponse(config=config)


def _tensors(specs: Sequence[TensorSpec]) -> list[service_pb2.ModelMetadataResponse.TensorMetadata]:
    return [
        service_pb2.ModelMetadataResponse.TensorMetadata(
            name=spec.name, datatype=spec.datatype, shape=spec.shape
        )
        for spec in specs
    ]


def _data_type(spec: TensorSpec) -> int:
    # The one type that Triton's configuration calls otherwise than the protocol does.
    name = "STRING" if spec.datatype == "BYTES" else spec.datatype
    return int(model_config_pb2.DataType.Value(f"TYPE_{name}"))
