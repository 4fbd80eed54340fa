"""What lvseg raises on purpose.

LvsegError
+-- InputError          the caller can fix it: a file, a field or an option (exit code 2)
|   +-- DicomError
|   +-- ContourError
|   +-- LabelError
|   +-- DatasetError
|   +-- OptionError
|   +-- RunError
|   +-- WeightsError
|   +-- BundleError
|   +-- UnknownModelError
+-- OperationError      it failed at run time: a port, a server, an engine (exit code 1)
    +-- EngineError
    |   +-- EngineLostError
    |   +-- EngineReplacedError
    +-- OverloadError
    +-- ServerError
        +-- SecurityError
    +-- StoppingError
    +-- WorkerError
        +-- WorkerLostError
"""

from typing import Any


class LvsegError(Exception):
    """Base of every error that lvseg raises on purpose; its text is one line for a person."""

    exit_code = 1

    def __reduce__(self) -> tuple[Any, ...]:
        """Let errors cross to another process though their constructors take more than a message."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[LvsegError], arguments: tuple[Any, ...], state: dict[str, Any]) -> LvsegError:
    error = kind.__new__(kind, *arguments)
    error.__dict__.update(state)
    return error


class InputError(LvsegError):
    """Something that the caller gave and can fix.

    Args:
        message: One line: what was found, what was expected, what to do. Never a patient's data.
        reason: A stable, machine-readable word for the kind of fault, such as ``"NOT_DICOM"``.
        field: The DICOM keyword, option or file key at fault, such as ``"PixelSpacing"``; may be empty.
        expected: What would have been accepted; may be empty.
    """

    exit_code = 2

    def __init__(self, message: str, *, reason: str, field: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.expected = expected


class DicomError(InputError):
    """A DICOM object that cannot be read as a slice."""


class ContourError(InputError):
    """A contour that is malformed or does not fit its slice."""


class LabelError(InputError):
    """A mask, SEG or NIfTI file that cannot be used as a label, or as the image of one."""


class DatasetError(InputError):
    """Folders of images and contours that give no usable data set."""


class OptionError(InputError):
    """An option whose value cannot be used."""


def missing_extra(package: str | None, extra: str, *, field: str = "") -> OptionError:
    """Return the error of asking for something whose package is not installed.

    Args:
        package: The package, or the module of it that is missing.
        extra: Of lvseg: what installs it.
        field: The option that asks for it; empty for the whole command.
    """
    return OptionError(
        f"{package} is not installed; run: pip install 'lvseg[{extra}]'", reason="MISSING_EXTRA", field=field
    )


class RunError(InputError):
    """A folder that is not a training run, or a broken one."""


class WeightsError(InputError):
    """A file of pretrained weights that is broken, or holds another network's.

    Args:
        message: One line for a person.
        reason: As for every :class:`InputError`.
        field: As for every :class:`InputError`.
        table: Lines that show layer by layer what the file holds and what the model wants; may be empty.
    """

    def __init__(self, message: str, *, reason: str, field: str = "--pretrained", table: str = "") -> None:
        super().__init__(message, reason=reason, field=field)
        self.table = table


class BundleError(InputError):
    """A folder that is not a bundle, or one that differs from its manifest."""


class UnknownModelError(InputError):
    """A request for a model, or a version of one, that the server does not have."""


class OperationError(LvsegError):
    """Something failed at run time though the input was good."""


class EngineError(OperationError):
    """An engine could not be loaded or failed while running."""


class EngineLostError(EngineError):
    """An engine that no call of this process will get an answer from any more: only a new process helps."""


class EngineReplacedError(EngineError):
    """An engine hangs with a slice and another has taken its place: the slice may be sent again."""


class OverloadError(OperationError):
    """A slice was not taken because too many wait already.

    Args:
        message: One line for a person.
        retry_after_s: Seconds after which there will be room, as far as can be told.
    """

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class ServerError(OperationError):
    """A server could not be started or reached, or answered with an error.

    Args:
        message: One line for a person.
        code: The name of the gRPC status code, such as ``"UNAVAILABLE"``; empty before any call was made.
        reason: The server's stable reason, such as ``"NOT_DICOM"``; may be empty.
        retry_after_s: Seconds after which the server asks to be called again; ``None`` if it does not.
    """

    def __init__(
        self, message: str, *, code: str = "", reason: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.retry_after_s = retry_after_s


class SecurityError(ServerError):
    """One end of a connection did not prove to the other who it is, or both disagree whether they encrypt.

    ``reason`` tells what failed: ``SERVER_CERTIFICATE_EXPIRED``, ``SERVER_CERTIFICATE_NOT_YET_VALID``,
    ``SERVER_NAME_MISMATCH``, ``UNKNOWN_AUTHORITY``,
    ``CLIENT_CERTIFICATE_MISSING``, ``CLIENT_CERTIFICATE_REFUSED``, ``SERVER_WANTS_TLS``, ``SERVER_WITHOUT_TLS``,
    ``TLS_FAILED`` (all the rest of TLS), ``TOKEN_MISSING`` or ``TOKEN_REFUSED``.
    """


class StoppingError(OperationError):
    """A server that was told to stop takes no more on this connection: another, or its successor, will."""


class WorkerError(OperationError):
    """A worker process failed at a slice though nothing is known to be wrong with the slice."""


class WorkerLostError(WorkerError):
    """A worker process was killed while it was at a slice, which may be sent again."""
