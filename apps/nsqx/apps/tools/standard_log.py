"""
What the tools write to stderr: their own lines, and those of the client.

    2026/11/24 05:54:41 --topic required                                 of the tool
    2026/11/24 05:54:41 INF    1 [orders/billing] connected to ...       of the client
"""

import logging
import sys
from contextvars import ContextVar
from datetime import datetime

from nsqx.apps.terminal import printable

__all__ = ["log_client", "name_consumer", "say"]

_LEVELS = {"DEBUG": "DBG", "INFO": "INF", "WARNING": "WRN", "ERROR": "ERR", "CRITICAL": "ERR"}

# Tasks and callbacks inherit the context they were made in, so each line finds its consumer.
_whose: ContextVar[str] = ContextVar("nsqx.whose", default="")


def say(text: str) -> None:
    """Write a line with the date, as Go's standard logger does; what servers say is in it."""
    shown = "\t".join(map(printable, text.split("\t")))
    sys.stderr.write(f"{datetime.now():%Y/%m/%d %H:%M:%S} {shown}\n")


def log_client(level: int = logging.INFO) -> None:
    """From now on, write what ``nsqx.client`` logs."""
    log = logging.getLogger("nsqx.client")
    log.addHandler(_ClientLines(level))
    log.setLevel(level)
    log.propagate = False


def name_consumer(number: int, name: str) -> None:
    """Have lines name this consumer, in the present context and all that begins in it."""
    _whose.set(f"{number:3d} [{name}] ")


class _ClientLines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        level = _LEVELS.get(record.levelname, "ERR")
        error = record.exc_info[1] if record.exc_info else None
        reason = f": {error}" if error is not None else ""
        say(f"{level:<4} {_whose.get()}{record.getMessage()}{reason}")
