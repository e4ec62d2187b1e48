"""
Failures at start: one line on stderr, then exit code 1. Needs no logger: tools use it too.

The line has the form of the log, as far as its format is known by then.
"""

import sys
from typing import TYPE_CHECKING

from nsqx.protocol.errors import StartupError
from nsqx.runtime.process import journal
from nsqx.runtime.process.levels import Level

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["exit_with_failure", "failure_line", "write_failure"]


def failure_line(error: StartupError, prefix: str, now: "datetime", log_format: str = "nsq") -> str:
    """Return the line for stderr; ``prefix`` is a log prefix such as ``"[nsqd] "``."""
    if log_format == "json":
        import json
        from datetime import UTC

        time = now.astimezone(UTC).isoformat()
        return json.dumps({"time": time, "level": "fatal", "event": error.message}) + "\n"
    if error.bare:
        return f"{now:%Y/%m/%d %H:%M:%S} {error.message}\n"
    return f"{prefix}{now:%Y/%m/%d %H:%M:%S.%f} FATAL: {error.message}\n"


def exit_with_failure(error: StartupError, prefix: str, log_format: str = "nsq") -> SystemExit:
    """Print the failure and return the exception to raise: exit code 1."""
    from datetime import datetime  # it costs some milliseconds, and starts seldom fail

    line = failure_line(error, prefix, datetime.now(), log_format)
    write_failure(line)
    return SystemExit(1)


def write_failure(text: str) -> None:
    """Write what ends a start to stderr; systemd's journal is told how grave it is."""
    if _is_read_by_journal():
        text = journal.prioritized(text.removesuffix("\n"), Level.FATAL) + "\n"
    sys.stderr.write(text)


def _is_read_by_journal() -> bool:
    try:
        return journal.is_journal(sys.stderr.fileno())
    except (OSError, ValueError):  # it is no file, or closed
        return False
