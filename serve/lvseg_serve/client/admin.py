"""The client of the admin service."""

from types import TracebackType
from typing import Self

from lvseg_api.v1 import admin_pb2 as pb
from lvseg_api.v1.admin_pb2_grpc import AdminServiceStub
from lvseg_serve import defaults
from lvseg_serve.answers import Status, Swapped
from lvseg_serve.client.channel import channel_settings, open_channel
from lvseg_serve.client.converters import from_model
from lvseg_serve.client.errors import typed_errors
from lvseg_serve.client.security import Access, Tls


class AdminClient:
    """A connection to a server's admin service.

    Args:
        address: ``HOST:PORT`` of the admin service, which is not the one that segments.
        timeout_s: Seconds to wait for each answer; loading a model may take minutes.
        tls: What the connection is encrypted with; ``None``: plain text.

    Raises:
        OptionError: If a file of ``tls`` cannot be used.
    """

    def __init__(self, address: str, *, timeout_s: float = defaults.SWAP_S, tls: Tls | None = None) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._tls = tls
        settings = channel_settings(address, defaults.MAX_MESSAGE_MIB, Access(tls))
        self._channel = open_channel(address, settings)
        self._stub = AdminServiceStub(self._channel)

    def status(self) -> Status:
        """Ask how the server is.

        Raises:
            ServerError: If the server cannot be reached, gives no answer in time, or fails.
        """
        with typed_errors(self._address, self._timeout_s, self._tls):
            answer = self._stub.GetStatus(pb.GetStatusRequest(), timeout=self._timeout_s)
        return Status(
            model=from_model(answer.model),
            bundle=answer.bundle,
            former_model=from_model(answer.former_model) if answer.HasField("former_model") else None,
            uptime_s=answer.uptime_s,
            pending=answer.pending,
            queued=answer.queued,
            workers=answer.workers,
            serving=answer.serving,
            why_not_serving=answer.why_not_serving,
            canaries_passed=answer.canaries_passed,
            canaries_failed_in_a_row=answer.canaries_failed_in_a_row,
        )

    def swap(self, bundle: str) -> Swapped:
        """Let another bundle's model answer.

        Args:
            bundle: Folder on the server's machine; a relative path counts from the server's folder of bundles.

        Raises:
            InputError: If the server takes no bundles from there.
            ServerError: If the bundle does not load or does not pass, and as :meth:`status`.
        """
        with typed_errors(self._address, self._timeout_s, self._tls):
            answer = self._stub.SwapBundle(pb.SwapBundleRequest(path=bundle), timeout=self._timeout_s)
        return Swapped(from_model(answer.model), from_model(answer.former_model))

    def roll_back(self) -> Swapped:
        """Let the model answer again that did before.

        Raises:
            InputError: If there is none.
            ServerError: As :meth:`status`.
        """
        with typed_errors(self._address, self._timeout_s, self._tls):
            answer = self._stub.RollBack(pb.RollBackRequest(), timeout=self._timeout_s)
        return Swapped(from_model(answer.model), from_model(answer.former_model))

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
