"""gRPC's standard services, health and reflection, whose streams would outlast the server that they are about."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from lvseg_serve.draining import Draining
from lvseg_serve.rpc.status import errors_as_status


class Health(health.aio.HealthServicer):  # type: ignore[misc,name-defined]  # no stubs
    """Health checks; who watches is told that the server is NOT_SERVING, and then that it stops."""

    def __init__(self, draining: Draining) -> None:
        super().__init__()
        self._draining = draining

    async def Watch(  # noqa: N802
        self, request: health_pb2.HealthCheckRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> None:
        """Tell each change until the server stops."""
        async with errors_as_status(context), self._draining.waiting():
            await super().Watch(request, context)


class Reflection(reflection.aio.ReflectionServicer):  # type: ignore[misc,name-defined]  # no stubs
    """What there is to call, told until the server stops."""

    def __init__(self, services: tuple[str, ...], draining: Draining) -> None:
        super().__init__(services)
        self._draining = draining

    async def ServerReflectionInfo(  # noqa: N802
        self,
        requests: AsyncIterator[reflection_pb2.ServerReflectionRequest],
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[reflection_pb2.ServerReflectionResponse]:
        """Answer each request."""
        async with errors_as_status(context):
            async for answer in super().ServerReflectionInfo(self._draining.until(requests), context):
                yield answer
