"""The protocol's methods: find the model, convert, call, convert back."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as pb

from lvseg_serve.rpc.kserve.catalogue import Catalogue
from lvseg_serve.rpc.kserve.inputs import read_inputs
from lvseg_serve.rpc.kserve.metadata import to_model_config, to_model_metadata, to_server_metadata
from lvseg_serve.rpc.kserve.outputs import to_infer_response, wanted_outputs
from lvseg_serve.rpc.kserve.parameters import refuse_parameters
from lvseg_serve.rpc.kserve.spec import VERSION
from lvseg_serve.rpc.kserve.statistics import Stage, Tally
from lvseg_serve.rpc.kserve.wire import parse_infer_request
from lvseg_serve.rpc.server import SERVICE
from lvseg_serve.rpc.status import errors_as_status, to_status
from lvseg_serve.rpc.wire import Unread
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.state import ServerState

_Context = grpc.aio.ServicerContext[Any, Any]


class KserveServicer:
    """``inference.GRPCInferenceService`` on top of a segmenter; its methods are those that are offered.

    Args:
        segmenter: Does the work.
        state: What the server says of itself. The models keep their first names after a swap, which fails no request:
            callers know them by these.
        health: Of the standard health service: whether the server and its models are ready is asked of it alone.
    """

    def __init__(
        self, segmenter: Segmenter, state: ServerState, health: health_pb2_grpc.HealthServicer
    ) -> None:
        self._catalogue = Catalogue(state.info.model.name, segmenter)
        self._tallies = {model.name: Tally() for model in self._catalogue}
        self._state = state
        self._health = health

    async def ServerLive(self, _: pb.ServerLiveRequest, __: _Context) -> pb.ServerLiveResponse:  # noqa: N802
        """Say that there is a server."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802
        self, _: pb.ServerReadyRequest, context: _Context
    ) -> pb.ServerReadyResponse:
        """Say whether slices are taken."""
        return pb.ServerReadyResponse(ready=await self._ready(context))

    async def ModelReady(self, request: pb.ModelReadyRequest, context: _Context) -> pb.ModelReadyResponse:  # noqa: N802
        """Say whether slices are taken, by a model that there is."""
        async with errors_as_status(context):
            self._catalogue.find(request.name, request.version)
            return pb.ModelReadyResponse(ready=await self._ready(context))

    async def ServerMetadata(  # noqa: N802
        self, _: pb.ServerMetadataRequest, __: _Context
    ) -> pb.ServerMetadataResponse:
        """Say what the server is."""
        return to_server_metadata(self._state.info)

    async def ModelMetadata(  # noqa: N802
        self, request: pb.ModelMetadataRequest, context: _Context
    ) -> pb.ModelMetadataResponse:
        """Say what a model takes and answers."""
        async with errors_as_status(context):
            return to_model_metadata(self._catalogue.find(request.name, request.version))

    async def ModelConfig(  # noqa: N802
        self, request: pb.ModelConfigRequest, context: _Context
    ) -> pb.ModelConfigResponse:
        """Say the same in the form of Triton's configuration files."""
        async with errors_as_status(context):
            return to_model_config(self._catalogue.find(request.name, request.version), self._state.info)

    async def ModelStatistics(  # noqa: N802
        self, request: pb.ModelStatisticsRequest, context: _Context
    ) -> pb.ModelStatisticsResponse:
        """Say what one model, or where none is named each, answered so far."""
        async with errors_as_status(context):
            found = self._catalogue.find(request.name, request.version) if request.name else None
            models = self._catalogue if found is None else [found]
            stats = [self._tallies[model.name].to_message(model.name) for model in models]
            return pb.ModelStatisticsResponse(model_stats=stats)

    async def RepositoryIndex(  # noqa: N802
        self, request: pb.RepositoryIndexRequest, context: _Context
    ) -> pb.RepositoryIndexResponse:
        """List the models."""
        ready = await self._ready(context)
        state = "READY" if ready else "UNAVAILABLE"
        listed = () if request.ready and not ready else self._catalogue
        models = [
            pb.RepositoryIndexResponse.ModelIndex(name=model.name, version=VERSION, state=state)
            for model in listed
        ]
        return pb.RepositoryIndexResponse(models=models)

    async def ModelInfer(self, request: Unread, context: _Context) -> pb.ModelInferResponse:  # noqa: N802
        """Answer one request; it comes as it was sent, to be judged before it is parsed."""
        async with errors_as_status(context):
            return await self._infer(parse_infer_request(request.take()))

    async def ModelStreamInfer(  # noqa: N802
        self, requests: AsyncIterator[bytes], context: _Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Answer requests in their order; one that fails is told so and does not end the stream."""
        async with errors_as_status(context):
            async for data in self._state.draining.until(requests):
                yield await self._streamed(data)

    async def _streamed(self, data: bytes) -> pb.ModelStreamInferResponse:
        request = pb.ModelInferRequest()
        try:
            request = parse_infer_request(data)
            return pb.ModelStreamInferResponse(infer_response=await self._infer(request))
        except Exception as error:  # noqa: BLE001  nothing else stands between an error and the caller
            return pb.ModelStreamInferResponse(
                error_message=to_status(error).message,
                infer_response=pb.ModelInferResponse(id=request.id),
            )

    async def _infer(self, request: pb.ModelInferRequest) -> pb.ModelInferResponse:
        model = self._catalogue.find(request.model_name, request.model_version)
        tally = self._tallies[model.name]
        with tally.request() as laps:
            refuse_parameters("the request", request.parameters)
            wanted = wanted_outputs(request, model.outputs)
            inputs = await asyncio.to_thread(read_inputs, request, model.inputs)
            laps.lap(Stage.READ)
            answer = await model.infer(inputs, frozenset(spec.name for spec in wanted))
            laps.lap(Stage.INFER)
            response = await asyncio.to_thread(to_infer_response, request, model, answer, wanted)
            laps.lap(Stage.WRITE)
        tally.add_slices(answer.slices)
        return response

    async def _ready(self, context: _Context) -> bool:
        answer = await self._health.Check(health_pb2.HealthCheckRequest(service=SERVICE), context)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
