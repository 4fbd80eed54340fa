import json
import logging
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from lvseg.errors import EngineError
from lvseg_serve.answers import StageTimings
from lvseg_serve.events import (
    CallEnded,
    EngineLost,
    Event,
    Foreign,
    FormerHangs,
    FormerLetGo,
    Health,
    InternalError,
    Ready,
    ReloadFailed,
    Stopped,
    Stopping,
    SwapFailed,
    Swapped,
)
from lvseg_serve.observer import Call, Peer
from lvseg_serve.withheld import describe

OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
EVENTS = [
    Ready,
    CallEnded,
    Health,
    Swapped,
    SwapFailed,
    FormerHangs,
    FormerLetGo,
    EngineLost,
    Stopping,
    Stopped,
    InternalError,
    ReloadFailed,
    Foreign,
]


def say(log_format: str, level: str, code: str) -> list[str]:
    """Run code in a process of its own that logs as a server does; return the lines of its standard error."""
    program = f"""
import logging, sys, threading, warnings
from lvseg_serve.events import *
from lvseg_serve.logs import LogFormat, log, start_logging
start_logging(LogFormat({log_format!r}), {level!r})
{code}
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert run.stdout == ""
    return run.stderr.splitlines()


def test_an_event_is_a_line_of_text() -> None:
    (line,) = say("text", "INFO", "log(Stopping(signal='SIGTERM'))")
    time, level, event, field = line.split()
    assert (level, event, field) == ("INFO", "stopping", "signal=SIGTERM")
    assert time.endswith("+00:00")


def test_an_event_is_a_json_object_of_its_fields() -> None:
    (line,) = say("json", "INFO", "log(Stopped(drain_s=0.25))")
    event = json.loads(line)
    assert list(event) == ["time", "level", "event", "drain_s"]
    assert (event["level"], event["event"], event["drain_s"]) == ("INFO", "stopped", 0.25)


def test_an_error_of_several_lines_is_one_json_object() -> None:
    (line,) = say("json", "ERROR", "log(InternalError(reference='0f', error='one\\ntwo'))")
    assert json.loads(line)["error"] == "one\ntwo"


@pytest.mark.parametrize("log_format", ["text", "json"])
@pytest.mark.parametrize(
    "code",
    [
        "logging.getLogger('pydicom').warning('Doe^Jane')",
        "logging.getLogger('pydicom').warning('%s', 'Doe^Jane')",
        "logging.error('Doe^Jane')",
        "warnings.warn('Doe^Jane')",
        "try: raise ValueError('Doe' + '^' + 'Jane')\nexcept ValueError: logging.exception('Doe^Jane')",
        "raise ValueError('Doe' + '^' + 'Jane')",
        "threading.Thread(target=lambda: int('Doe' + '^' + 'Jane')).start()",
        "class Gone:\n  def __del__(self): int('Doe' + '^' + 'Jane')\ndel (gone := [Gone()])[:]",
        "logging.getLogger('pydicom').error('%d', 'Doe^Jane')",
    ],
    ids=[
        "text",
        "argument",
        "root",
        "warning",
        "exception",
        "uncaught",
        "thread",
        "destructor",
        "broken record",
    ],
)
def test_what_libraries_say_is_told_of_without_its_text(log_format: str, code: str) -> None:
    said = "\n".join(say(log_format, "INFO", code))
    assert re.search(r"\b(library|internal_error)\b", said)
    assert "Doe^Jane" not in said


def test_libraries_do_not_chatter_at_any_level() -> None:
    chatter = (
        "logger = logging.getLogger('grpc'); logger.setLevel('DEBUG'); logger.debug('a'); logger.info('b')"
    )
    assert say("text", "DEBUG", chatter) == []


def test_below_the_level_nothing_is_said() -> None:
    assert say("text", "WARNING", "log(Stopping(signal='SIGTERM'))") == []


def test_the_place_of_a_warning_is_told() -> None:
    (line,) = say("text", "INFO", "warnings.warn('Doe^Jane', RuntimeWarning)")
    assert line.endswith("WARNING library library=RuntimeWarning place=<string>:6")


def _call(**changes: object) -> Call:
    values = {
        "method": "lvseg_api.v1.SegmentationService/Segment",
        "code": "OK",
        "reason": None,
        "reference": None,
        "peer": Peer.IPV4,
        "seconds": 0.0125,
        "bytes_in": 10,
        "bytes_out": 20,
        "slices": 0,
        "timings": None,
    }
    return Call(**(values | changes))


def test_a_call_is_told_in_milliseconds_with_its_stages() -> None:
    timings = StageTimings(
        decode_ms=1.0,
        resample_ms=2.0,
        inference_ms=3.00049,
        postprocess_ms=4.0,
        compare_ms=5.0,
        total_ms=16.0,
    )
    event = CallEnded.of(_call(slices=1, timings=timings))
    assert event.fields() == {
        "method": "lvseg_api.v1.SegmentationService/Segment",
        "code": "OK",
        "peer": "ipv4",
        "duration_ms": 12.5,
        "bytes_in": 10,
        "bytes_out": 20,
        "slices": 1,
        "decode_ms": 1.0,
        "resample_ms": 2.0,
        "inference_ms": 3.0,
        "postprocess_ms": 4.0,
        "compare_ms": 5.0,
        "total_ms": 16.0,
    }


def test_health_checks_are_told_at_the_lowest_level_alone() -> None:
    assert CallEnded.of(_call(method="grpc.health.v1.Health/Check")).level == logging.DEBUG
    assert CallEnded.of(_call()).level == logging.INFO


def test_an_event_has_no_room_for_a_field_that_is_not_its_own() -> None:
    with pytest.raises(TypeError, match="patient"):
        Stopping(signal="SIGTERM", patient="Doe^Jane")  # type: ignore[call-arg]


def test_every_event_and_field_is_documented() -> None:
    """The fields of events are a list that is open to view: a new one changes this table, and is seen."""
    assert set(EVENTS) == set(Event.__subclasses__())
    table = {
        cells[0].strip(" `"): {field.strip(" `") for field in cells[2].split(",")}
        for line in OPERATIONS.read_text().splitlines()
        if line.startswith("| `") and len(cells := line.strip("|").split("|")) == 4
    }
    assert table == {event.name: {field.name for field in fields(event)} for event in EVENTS}


def test_the_place_of_our_own_error_is_told_with_its_text() -> None:
    assert describe(EngineError("shape (1, 2) is wrong")) == "EngineError: shape (1, 2) is wrong"
