"""Failures at start: one line on stderr, then exit code 1. Needs no logger: tools use it too."""

import sys
from datetime import datetime

from nsqx.protocol.errors import StartupError

__all__ = ["exit_with_failure", "failure_line"]


def failure_line(error: StartupError, prefix: str, now: datetime) -> str:
    """Return the line for stderr; ``prefix`` is a log prefix such as ``"[nsqd] "``."""
    if error.bare:
        return f"{now:%Y/%m/%d %H:%M:%S} {error.message}\n"
    return f"{prefix}{now:%Y/%m/%d %H:%M:%S.%f} FATAL: {error.message}\n"


def exit_with_failure(error: StartupError, prefix: str) -> SystemExit:
    """Print the failure and return the exception to raise: exit code 1."""
    sys.stderr.write(failure_line(error, prefix, datetime.now()))
    return SystemExit(1)
