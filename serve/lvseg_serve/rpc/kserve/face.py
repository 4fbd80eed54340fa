"""The Open Inference Protocol (KServe v2, as Triton speaks it) as a further face of the server.

The messages are those of ``tritonclient``: protobuf takes one definition of ``inference.*`` in a process, and whoever
tests a server with that client has its own.
"""

from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from grpc_health.v1 import health_pb2_grpc
from tritonclient.grpc import service_pb2

from lvseg_serve.rpc.kserve.servicer import KserveServicer
from lvseg_serve.rpc.wire import Unread
from lvseg_serve.segmenter import Segmenter
from lvseg_serve.state import ServerState

_SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_JUDGED = {"ModelInfer": Unread, "ModelStreamInfer": None}
"""What methods that parse their requests themselves take; the requests of the others cannot grow in memory."""


def add_kserve(
    server: grpc.aio.Server, segmenter: Segmenter, state: ServerState, health: health_pb2_grpc.HealthServicer
) -> str:
    """Offer the protocol on a server that was not started yet; a :data:`lvseg_serve.rpc.server.Face`."""
    servicer = KserveServicer(segmenter, state, health)
    handlers = {method.name: _handler(servicer, method) for method in _SERVICE.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE.full_name, handlers),))
    return str(_SERVICE.full_name)


def _handler(servicer: KserveServicer, method: MethodDescriptor) -> "grpc.RpcMethodHandler[Any, Any]":
    make = (
        grpc.stream_stream_rpc_method_handler
        if method.client_streaming
        else grpc.unary_unary_rpc_method_handler
    )
    behaviour = getattr(servicer, method.name, _not_offered)
    request = message_factory.GetMessageClass(method.input_type)
    response = message_factory.GetMessageClass(method.output_type)
    return make(
        behaviour,
        request_deserializer=None
        if behaviour is _not_offered
        else _JUDGED.get(method.name, request.FromString),
        response_serializer=response.SerializeToString,
    )


async def _not_offered(_: Any, context: grpc.aio.ServicerContext[Any, Any]) -> None:
    """Answer a method of Triton's for which there is nothing here to do."""
    await context.abort(
        grpc.StatusCode.UNIMPLEMENTED,
        "this method is not offered: the models are those of the bundle that lvseg-serve was started with, "
        "and tensors travel in the messages",
    )
