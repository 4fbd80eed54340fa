"""The client for asyncio."""

import asyncio
from collections.abc import AsyncIterable, Callable, Collection, Iterable
from types import TracebackType
from typing import Any, Self

import grpc
from numpy.typing import ArrayLike

from lvseg.errors import InputError, ServerError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_serve import defaults
from lvseg_serve.answers import DEFAULT_OUTPUTS, Output, Segmentation, ServerInfo
from lvseg_serve.client.asynchronous_stream import AsyncSegmentStream
from lvseg_serve.client.channel import channel_settings
from lvseg_serve.client.conversation import Conversation, SeriesSlice
from lvseg_serve.client.converters import from_segment_response, from_server_info_response, to_message
from lvseg_serve.client.errors import typed_errors
from lvseg_serve.client.patience import Acquaintance
from lvseg_serve.client.security import Access, Tls


class AsyncClient:
    """A connection to a server, for the event loop in which it is made; any number of calls at a time.

    The arguments are those of :class:`~lvseg_serve.client.Client`.
    """

    def __init__(
        self,
        address: str = defaults.ADDRESS,
        *,
        timeout_s: float = defaults.TIMEOUT_S,
        max_message_mib: int = defaults.MAX_MESSAGE_MIB,
        connect_s: float = defaults.CONNECT_S,
        retry: bool = True,
        tls: Tls | None = None,
        token: str | None = None,
    ) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._acquaintance = Acquaintance(timeout_s=timeout_s, connect_s=connect_s, retry=retry)
        self._max_message_bytes = max_message_mib * 2**20
        self._tls = tls
        settings = channel_settings(address, max_message_mib, Access(tls, token))
        self._metadata = settings.metadata
        self._channel = (
            grpc.aio.insecure_channel(address, settings.options)
            if settings.credentials is None
            else grpc.aio.secure_channel(address, settings.credentials, settings.options)
        )
        self._stub = SegmentationServiceStub(self._channel)

    async def segment(
        self,
        dicom: bytes,
        *,
        contour: ArrayLike | str | None = None,
        frame: int | None = None,
        pixel_spacing: tuple[float, float] | None = None,
        outputs: Collection[Output] = DEFAULT_OUTPUTS,
    ) -> Segmentation:
        """Segment one slice; arguments and errors are those of :meth:`Client.segment`."""
        message = to_message(dicom, contour, frame, pixel_spacing, outputs)
        return from_segment_response(await self._call(self._stub.Segment, message), outputs)

    def segment_stream(
        self,
        slices: Iterable[SeriesSlice] | AsyncIterable[SeriesSlice],
        *,
        outputs: Collection[Output] = DEFAULT_OUTPUTS,
        window: int = defaults.MAX_STREAM_PENDING,
    ) -> AsyncSegmentStream:
        """Segment the slices of a series over one call.

        Arguments and errors are those of :meth:`Client.segment_stream`; it gives an asynchronous iterator, and
        ``slices`` may be asynchronous too.
        """
        conversation = Conversation(
            outputs=outputs,
            address=self._address,
            timeout_s=self._timeout_s,
            acquaintance=self._acquaintance,
            tls=self._tls,
            max_message_bytes=self._max_message_bytes,
        )
        return AsyncSegmentStream(self._stub, slices, conversation, window=window, metadata=self._metadata)

    async def server_info(self) -> ServerInfo:
        """Ask the server what it runs and accepts; errors are those of :meth:`Client.server_info`."""
        answer = await self._call(self._stub.GetServerInfo, pb.GetServerInfoRequest())
        return from_server_info_response(answer)

    async def close(self) -> None:
        """Close the connection; calls that wait for an answer are cancelled."""
        await self._channel.close(None)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: Callable[..., Any], message: Any) -> Any:
        """Return the answer to a call, which is tried again as long as that may help."""
        patience = self._acquaintance.patience()
        while True:
            try:
                with typed_errors(self._address, self._timeout_s, self._tls):
                    answer = await method(message, timeout=patience.left_s, metadata=self._metadata)
            except ServerError as error:
                self._acquaintance.heard(error)
                wait_s = patience.wait_s(error)
            except InputError:
                self._acquaintance.met = True
                raise
            else:
                self._acquaintance.met = True
                return answer
            await asyncio.sleep(wait_s)
