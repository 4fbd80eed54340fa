"""The admin service, on a port of its own: whoever reaches it may swap the model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
from grpc_reflection.v1alpha import reflection

from lvseg_api.v1 import admin_pb2 as pb
from lvseg_api.v1 import admin_pb2_grpc
from lvseg_serve import defaults
from lvseg_serve.answers import Status
from lvseg_serve.operations import Operations
from lvseg_serve.ports import check_free
from lvseg_serve.rpc.connections import ConnectionLimits
from lvseg_serve.rpc.converters import to_model
from lvseg_serve.rpc.listening import ALONE, listen_on
from lvseg_serve.rpc.status import errors_as_status

SERVICE = pb.DESCRIPTOR.services_by_name["AdminService"].full_name
_CONNECTIONS = ConnectionLimits(age_grace_s=defaults.SWAP_S)
"""Of an operator: those of every caller, and the time that a swap may take."""


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """``lvseg_api.v1.AdminService`` on top of a server's operations."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def SwapBundle(  # noqa: N802
        self,
        request: pb.SwapBundleRequest,
        context: grpc.aio.ServicerContext[pb.SwapBundleRequest, pb.SwapBundleResponse],
    ) -> pb.SwapBundleResponse:
        """Let another bundle's model answer."""
        async with errors_as_status(context, operator=True):
            model, former = await self._operations.swap(Path(request.path))
            return pb.SwapBundleResponse(model=to_model(model), former_model=to_model(former))

    async def RollBack(  # noqa: N802
        self,
        request: pb.RollBackRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[pb.RollBackRequest, pb.RollBackResponse],
    ) -> pb.RollBackResponse:
        """Let the former model answer again."""
        async with errors_as_status(context, operator=True):
            model, former = await self._operations.roll_back()
            return pb.RollBackResponse(model=to_model(model), former_model=to_model(former))

    async def GetStatus(  # noqa: N802
        self,
        request: pb.GetStatusRequest,  # noqa: ARG002
        context: grpc.aio.ServicerContext[pb.GetStatusRequest, pb.GetStatusResponse],
    ) -> pb.GetStatusResponse:
        """Tell how the server is."""
        async with errors_as_status(context, operator=True):
            return _to_status_response(self._operations.status())


@asynccontextmanager
async def running_admin(
    operations: Operations,
    *,
    listen: str,
    credentials: grpc.ServerCredentials | None = None,
    connections: ConnectionLimits = _CONNECTIONS,
) -> AsyncIterator[str]:
    """Serve the admin service while the block runs; yields ``HOST:PORT`` with the port that was bound.

    At the end its calls are cancelled at once: none of them is anybody's slice.

    Args:
        operations: What is administered.
        listen: ``HOST:PORT``; port 0 takes a free one.
        credentials: The server's end of TLS; ``None``: plain text.
        connections: What one connection may ask.

    Raises:
        OptionError: If ``listen`` is not of that form.
        ServerError: If the address cannot be bound.
    """
    check_free(listen, option="--admin")
    server = grpc.aio.server(options=[ALONE, *connections.options()])
    admin_pb2_grpc.add_AdminServiceServicer_to_server(AdminServicer(operations), server)
    reflection.enable_server_reflection((SERVICE, reflection.SERVICE_NAME), server)
    address = listen_on(server, listen, credentials, option="--admin")
    await server.start()
    try:
        yield address
    finally:
        await server.stop(None)


def _to_status_response(status: Status) -> pb.GetStatusResponse:
    return pb.GetStatusResponse(
        model=to_model(status.model),
        bundle=status.bundle,
        former_model=None if status.former_model is None else to_model(status.former_model),
        uptime_s=status.uptime_s,
        pending=status.pending,
        queued=status.queued,
        workers=status.workers,
        serving=status.serving,
        why_not_serving=status.why_not_serving,
        canaries_passed=status.canaries_passed,
        canaries_failed_in_a_row=status.canaries_failed_in_a_row,
    )
