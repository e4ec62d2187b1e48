"""
What happened, line by line.

Every line goes into a digest, so that two runs can be compared byte for byte; the lines themselves
are kept only for someone who wants to read them.
"""

import hashlib

from tests.simulation.scheduler import Scheduler

__all__ = ["Trace"]


class Trace:
    """The record of one run."""

    def __init__(self, scheduler: Scheduler, *, is_kept: bool) -> None:
        self.lines: list[str] = []
        self._scheduler = scheduler
        self._is_kept = is_kept
        self._hash = hashlib.blake2b(digest_size=16)

    def note(self, who: str, what: str) -> None:
        """Write a line."""
        minutes, seconds = divmod(self._scheduler.elapsed_s, 60)
        line = f"{int(minutes):02d}:{seconds:09.6f}  {who:<12} {what}"
        self._hash.update(line.encode())
        if self._is_kept:
            self.lines.append(line)

    def digest(self) -> str:
        """Return what stands for all lines so far."""
        return self._hash.hexdigest()
