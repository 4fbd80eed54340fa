"""How lvseg-serve ends, as its exit code tells a supervisor."""

import logging
import os
import sys
from enum import IntEnum
from typing import NoReturn


class Exit(IntEnum):
    """Exit codes."""

    STOPPED = 0
    """It was told to stop, and has."""
    FAILED = 1
    """It failed at run time, such as a port in use: to start it again may help."""
    UNUSABLE = 2
    """Options or files that somebody has to change: to start it again does not help."""
    ENGINE_LOST = 3
    """The engine does not answer any more: start it again."""
    CUT_SHORT = 4
    """It was told to stop, and something did not end in time."""


def end_now(code: Exit) -> NoReturn:
    """End this process at once: threads that hang, and what a library would do at exit, are not waited for.

    The worker processes end by themselves, since their pipes do.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
