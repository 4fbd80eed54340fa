"""The log: events on standard error, as text for people or as one JSON object a line for machines.

Events alone are written in full. Of what libraries log, warn of or raise in this process, only the place is told,
since its text may repeat what is in a file: pydicom's warnings, for one, quote the values that they complain of.
"""

import json
import logging
import sys
import threading
import warnings
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import TextIO

from lvseg_serve.events import CallEnded, Event, Foreign, InternalError
from lvseg_serve.observer import Call, Observer
from lvseg_serve.withheld import describe

_logger = logging.getLogger("lvseg_serve")


class LogFormat(StrEnum):
    """How an event is written."""

    TEXT = "text"
    JSON = "json"


def log(event: Event) -> None:
    """Log an event."""
    if _logger.isEnabledFor(event.level):
        # Who logs it is not said, so it is not looked for, which takes as long as all the rest.
        _logger.handle(_logger.makeRecord(_logger.name, event.level, "", 0, event, (), None))


def start_logging(log_format: LogFormat, level: str, *, stream: TextIO | None = None) -> None:
    """Let this process's log be events of one format, and nothing that a library has to say.

    For a command to call once, before it takes anything from anybody: logging belongs to the whole process.

    Args:
        log_format: How events are written.
        level: The least that is written, a level's name such as ``"INFO"``; libraries never below ``"WARNING"``.
        stream: Where to; standard error by default.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Formatter(log_format))
    handler.addFilter(lambda record: isinstance(record.msg, Event) or record.levelno >= logging.WARNING)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[level]))
    _logger.setLevel(level)
    logging.raiseExceptions = False  # or a record that cannot be written is printed, with all that it holds
    warnings.showwarning = _log_warning
    sys.excepthook = _log_exception
    threading.excepthook = lambda args: _log_exception(args.exc_type, args.exc_value, args.exc_traceback)
    sys.unraisablehook = lambda args: _log_exception(args.exc_type, args.exc_value, args.exc_traceback)


class AccessLog(Observer):
    """Logs each call when it has ended."""

    def call_ended(self, call: Call) -> None:
        """Log the call."""
        log(CallEnded.of(call))


class _Formatter(logging.Formatter):
    def __init__(self, log_format: LogFormat) -> None:
        super().__init__()
        self._format = log_format

    def format(self, record: logging.LogRecord) -> str:
        event = record.msg if isinstance(record.msg, Event) else _foreign(record)
        now = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        if self._format is LogFormat.TEXT:
            return f"{now} {record.levelname} {event}"
        head = {"time": now, "level": record.levelname, "event": event.name}
        return json.dumps(head | event.fields())


def _foreign(record: logging.LogRecord) -> Foreign:
    error = record.exc_info[1] if record.exc_info else None
    return Foreign(
        library=record.name,
        place=f"{record.filename}:{record.lineno}",
        error=None if error is None else describe(error),
    )


def _log_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    del message, file, line
    log(Foreign(library=category.__qualname__, place=f"{Path(filename).name}:{lineno}", error=None))


def _log_exception(
    kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
) -> None:
    del kind, trace  # of the error itself
    if error is not None:
        log(InternalError(reference=None, error=describe(error)))
