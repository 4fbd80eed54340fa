"""What the server and its models say of themselves, asked by Triton's own client."""

from collections.abc import Callable
from contextlib import asynccontextmanager

import grpc
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from lvseg_export.engines.base import Engine
from lvseg_serve.answers import ServerInfo
from lvseg_serve.rpc.kserve.face import add_kserve
from lvseg_serve.rpc.server import SERVICE, running_server
from lvseg_serve.segmenter import Segmenter

OTHER = "this model is not served here, expected one of threshold, threshold-dicom; ask for one of them"


def test_the_server_is_alive_and_ready_and_says_its_version(client: triton.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    metadata = client.get_server_metadata()
    assert (metadata.name, metadata.version) == ("lvseg", "0.1")
    assert list(metadata.extensions) == ["model_configuration", "statistics"]


@pytest.mark.parametrize("version", ["", "1"])
@pytest.mark.parametrize("name", ["threshold", "threshold-dicom"])
def test_both_models_are_ready(client: triton.InferenceServerClient, name: str, version: str) -> None:
    assert client.is_model_ready(name, version)


def test_the_models_are_listed(client: triton.InferenceServerClient) -> None:
    listed = client.get_model_repository_index().models
    assert [(model.name, model.version, model.state) for model in listed] == [
        ("threshold", "1", "READY"),
        ("threshold-dicom", "1", "READY"),
    ]


def test_the_tensors_of_the_bundle_are_those_of_the_first_model(client: triton.InferenceServerClient) -> None:
    told = client.get_model_metadata("threshold")
    assert (told.name, list(told.versions)) == ("threshold", ["1"])
    assert [
        (tensor.name, tensor.datatype, list(tensor.shape)) for tensor in (*told.inputs, *told.outputs)
    ] == [
        ("pixels", "FP32", [-1, 1, -1, -1]),
        ("mask", "UINT8", [-1, -1, -1]),
        ("probability", "FP32", [-1, -1, -1]),
    ]


def test_the_second_model_takes_dicom_and_answers_figures(client: triton.InferenceServerClient) -> None:
    told = client.get_model_metadata("threshold-dicom")
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in told.inputs] == [
        ("dicom", "BYTES", [1]),
        ("frame", "UINT32", [1]),
        ("pixel_spacing", "FP64", [2]),
        ("contour", "BYTES", [1]),
    ]
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in told.outputs] == [
        ("mask", "UINT8", [-1, -1]),
        ("area_mm2", "FP64", [1]),
        ("dice", "FP64", [-1]),
        ("apd_mm", "FP64", [-1]),
        ("hausdorff_mm", "FP64", [-1]),
        ("good", "BOOL", [-1]),
    ]


def test_a_configuration_leaves_the_batch_out_of_the_shapes(client: triton.InferenceServerClient) -> None:
    config = client.get_model_config("threshold").config
    assert config.max_batch_size == 16
    assert [list(tensor.dims) for tensor in (*config.input, *config.output)] == [
        [1, -1, -1],
        [-1, -1],
        [-1, -1],
    ]


def test_a_configuration_says_which_inputs_may_be_left_out(client: triton.InferenceServerClient) -> None:
    config = client.get_model_config("threshold-dicom").config
    assert config.max_batch_size == 0
    assert [(tensor.name, tensor.data_type, tensor.optional) for tensor in config.input] == [
        ("dicom", model_config_pb2.TYPE_STRING, False),
        ("frame", model_config_pb2.TYPE_UINT32, True),
        ("pixel_spacing", model_config_pb2.TYPE_FP64, True),
        ("contour", model_config_pb2.TYPE_STRING, True),
    ]


def test_the_bundles_own_version_is_a_parameter_of_the_configuration(
    client: triton.InferenceServerClient,
) -> None:
    parameters = client.get_model_config("threshold").config.parameters
    assert {name: value.string_value for name, value in parameters.items()} == {
        "architecture": "threshold",
        "bundle_version": "0123456789ab",
        "sha256": "ab" * 32,
        "engine": "threshold-cpu",
        "engine_version": "1.0",
        "precision": "fp32",
        "working_spacing_mm": "1.5",
    }


@pytest.mark.parametrize(
    "ask",
    [
        triton.InferenceServerClient.is_model_ready,
        triton.InferenceServerClient.get_model_metadata,
        triton.InferenceServerClient.get_model_config,
        triton.InferenceServerClient.get_inference_statistics,
    ],
)
@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("other", "", OTHER),
        (
            "threshold",
            "2",
            "model 'threshold' is not served in this version, expected '1'; ask for that or for none",
        ),
    ],
)
def test_an_unknown_model_or_version_is_not_found(
    client: triton.InferenceServerClient, ask: Callable[..., object], name: str, version: str, message: str
) -> None:
    with pytest.raises(InferenceServerException) as caught:
        ask(client, name, version)
    assert (caught.value.status(), caught.value.message()) == ("StatusCode.NOT_FOUND", message)


async def test_readiness_is_that_of_the_health_service(
    info: ServerInfo, make_segmenter: Callable[[Engine], Segmenter], engine: Engine
) -> None:
    held = []

    def face(*arguments):
        held.append(arguments[-1])
        return add_kserve(*arguments)

    @asynccontextmanager
    async def connected():
        async with (
            running_server(make_segmenter(engine), info, listen="127.0.0.1:0", faces=[face]) as address,
            triton_aio.InferenceServerClient(address) as client,
        ):
            yield client

    async with connected() as client:
        (health,) = held
        await health.set(SERVICE, health_pb2.HealthCheckResponse.NOT_SERVING)
        assert await client.is_server_live()
        assert not await client.is_server_ready()
        assert not await client.is_model_ready("threshold")
        index = await client.get_model_repository_index()
        assert {model.state for model in index.models} == {"UNAVAILABLE"}
        await health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        assert await client.is_server_ready()
        assert await client.is_model_ready("threshold")


def test_reflection_lists_the_protocol(address: str) -> None:
    with grpc.insecure_channel(address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (answer,) = stub.ServerReflectionInfo(asked)
    assert "inference.GRPCInferenceService" in {
        service.name for service in answer.list_services_response.service
    }


def test_without_its_face_the_protocol_is_not_there(server: str) -> None:
    with grpc.insecure_channel(server) as channel, pytest.raises(grpc.RpcError) as caught:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ServerLive(service_pb2.ServerLiveRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize(
    "ask",
    [
        lambda client: client.load_model("threshold"),
        lambda client: client.unload_model("threshold"),
        lambda client: client.register_system_shared_memory("region", "/region", 64),
        lambda client: client.get_cuda_shared_memory_status(),
        lambda client: client.get_log_settings(),
    ],
    ids=["load", "unload", "system memory", "cuda memory", "log"],
)
def test_what_there_is_nothing_to_do_for_is_unimplemented(
    client: triton.InferenceServerClient, ask: Callable[[triton.InferenceServerClient], object]
) -> None:
    with pytest.raises(InferenceServerException, match="this method is not offered") as caught:
        ask(client)
    assert caught.value.status() == "StatusCode.UNIMPLEMENTED"
