"""
Priorities of lines for systemd's journal, which takes them from a line's beginning (sd-daemon(3)).

    <3>[nsqd] 2026/11/24 05:54:41.780364 ERROR: ...

Without it all lines of a service have the priority "info". Only where the journal itself reads: it
says so by ``JOURNAL_STREAM``, the device and inode of what it gave to the service.
"""

import os

from nsqx.runtime.process.levels import Level

__all__ = ["is_journal", "prioritized"]

_PRIORITIES = {
    Level.DEBUG: 7,
    Level.INFO: 6,
    Level.WARNING: 4,
    Level.ERROR: 3,
    Level.FATAL: 2,
}


def is_journal(fd: int) -> bool:
    """Return whether the journal reads what is written to a file descriptor."""
    stream = os.environ.get("JOURNAL_STREAM", "")
    if not stream:
        return False
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def prioritized(text: str, level: Level) -> str:
    """Return a text whose lines, those of a traceback too, have the level's priority."""
    mark = f"<{_PRIORITIES[level]}>"
    return mark + text.replace("\n", f"\n{mark}")
