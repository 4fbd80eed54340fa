"""The client for ordinary code."""

from collections.abc import Callable, Collection, Iterable
from time import sleep
from types import TracebackType
from typing import Any, Self

from numpy.typing import ArrayLike

from lvseg.errors import InputError, ServerError
from lvseg_api.v1 import segmentation_pb2 as pb
from lvseg_api.v1.segmentation_pb2_grpc import SegmentationServiceStub
from lvseg_serve import defaults
from lvseg_serve.answers import DEFAULT_OUTPUTS, Output, Segmentation, ServerInfo
from lvseg_serve.client.channel import channel_settings, open_channel
from lvseg_serve.client.conversation import Conversation, SeriesSlice
from lvseg_serve.client.converters import from_segment_response, from_server_info_response, to_message
from lvseg_serve.client.errors import typed_errors
from lvseg_serve.client.patience import Acquaintance
from lvseg_serve.client.security import Access, Tls
from lvseg_serve.client.synchronous_stream import SegmentStream


class Client:
    """A connection to a server; it may be used from several threads.

    Args:
        address: ``HOST:PORT`` of the server. The connection is made with the first call.
        timeout_s: Seconds to wait for each answer; as long a call waits for a server that has answered before and is
            not there any more, since it may be starting anew.
        connect_s: Seconds of these that a call waits for a server which has never answered; 0: it fails at once.
        max_message_mib: Largest message to send or take, in MiB; the server has a limit of its own.
        retry: Whether a call is tried again: at a server that is not there, and when a busy server, or one that lost
            the slice, says when to come again.
        tls: What the connection is encrypted with; ``None``: plain text.
        token: Bearer token that the server lets this client in by.

    Raises:
        OptionError: If a file of ``tls`` or the token cannot be used, or the token would go over a network in plain
            text.
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
        self._channel = open_channel(address, settings)
        self._stub = SegmentationServiceStub(self._channel)

    def segment(
        self,
        dicom: bytes,
        *,
        contour: ArrayLike | str | None = None,
        frame: int | None = None,
        pixel_spacing: tuple[float, float] | None = None,
        outputs: Collection[Output] = DEFAULT_OUTPUTS,
    ) -> Segmentation:
        """Segment one slice.

        Args:
            dicom: The bytes of a DICOM file.
            contour: An expert's contour to compare with: points of shape (N, 2), (x, y) = (column, row) in
                pixels with pixel centres at integers; the text (not the path) of a Sunnybrook contour file; or
                a mask, an array of bool of the slice's shape.
            frame: Which frame of a multi-frame object, counted from 1.
            pixel_spacing: (between rows, between columns) in mm, for a file that has none.
            outputs: What the answer shall carry beside the figures.

        Raises:
            InputError: If the server refuses the input; its reason, field and expectation are on the error.
            SecurityError: If one end does not prove to the other who it is.
            ServerError: If the server cannot be reached, gives no answer in time, or fails.
            ValueError: If the arguments make no message.
        """
        message = to_message(dicom, contour, frame, pixel_spacing, outputs)
        return from_segment_response(self._call(self._stub.Segment, message), outputs)

    def segment_stream(
        self,
        slices: Iterable[SeriesSlice],
        *,
        outputs: Collection[Output] = DEFAULT_OUTPUTS,
        window: int = defaults.MAX_STREAM_PENDING,
    ) -> SegmentStream:
        """Segment the slices of a series over one call, each as soon as ``slices`` gives it.

        Gives ``(id, Segmentation)``, or ``(id, error)`` for a slice that is refused or fails, as the answers come,
        which need not be the order of the slices. ``slices`` is read in another thread and never further than
        ``window`` slices ahead of the answers; until then they are held, as one that is lost with its worker is sent
        again (up to 5 times, within ``timeout_s``). Files of more than 512 KiB travel in parts. When the call breaks
        off, as a server that is started anew or a connection that grew old may end it, another one goes on with what
        is not answered.

        Args:
            slices: With ids that differ from those of all slices under way.
            outputs: What the answers shall carry beside the figures.
            window: Slices that may be sent and whose answers were not taken from here yet.

        Raises:
            ServerError: While iterating, if the stream as a whole fails: there is no server, and none comes in time,
                or it fails, or for ``timeout_s`` it neither answers nor takes more while slices wait for their
                answers. How long ``slices`` takes does not matter.
            ValueError: If ``window`` is below 1; and while iterating, if a slice makes no message or its id is that
                of one under way.
            Exception: While iterating, what ``slices`` raised, after the answers to those before.
        """
        conversation = Conversation(
            outputs=outputs,
            address=self._address,
            timeout_s=self._timeout_s,
            acquaintance=self._acquaintance,
            tls=self._tls,
            max_message_bytes=self._max_message_bytes,
        )
        return SegmentStream(self._stub, slices, conversation, window=window, metadata=self._metadata)

    def server_info(self) -> ServerInfo:
        """Ask the server what it runs and accepts.

        Raises:
            SecurityError: If one end does not prove to the other who it is.
            ServerError: If the server cannot be reached, gives no answer in time, or fails.
        """
        answer = self._call(self._stub.GetServerInfo, pb.GetServerInfoRequest())
        return from_server_info_response(answer)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Callable[..., Any], message: Any) -> Any:
        """Return the answer to a call, which is tried again as long as that may help."""
        patience = self._acquaintance.patience()
        while True:
            try:
                with typed_errors(self._address, self._timeout_s, self._tls):
                    answer = method(message, timeout=patience.left_s, metadata=self._metadata)
            except ServerError as error:
                self._acquaintance.heard(error)
                wait_s = patience.wait_s(error)
            except InputError:
                self._acquaintance.met = True
                raise
            else:
                self._acquaintance.met = True
                return answer
            sleep(wait_s)
