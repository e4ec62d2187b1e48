"""How late the event loop is: what every client waits in addition."""

import asyncio

from nsqx.nsqd.core.time_counts import TimeCounts

__all__ = ["LoopLag"]

INTERVAL_S = 0.5  # each is a wake-up of a node that has nothing else to do


class LoopLag:
    """
    Asks to be called twice a second and notes how late that was.

    Attributes:
        durations: all delays since the start.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.durations = TimeCounts()
        self._loop = loop
        self._due_s = 0.0
        self._handle: asyncio.TimerHandle | None = None
        self._highest_ns = 0

    def start(self) -> None:
        """Begin to measure."""
        self._due_s = self._loop.time() + INTERVAL_S
        self._handle = self._loop.call_at(self._due_s, self._run)

    def stop(self) -> None:
        """End it."""
        if self._handle is not None:
            self._handle.cancel()

    def take_highest_ns(self) -> int:
        """Return the largest delay since this was asked last."""
        highest_ns, self._highest_ns = self._highest_ns, 0
        return highest_ns

    def _run(self) -> None:
        late_ns = max(0, round((self._loop.time() - self._due_s) * 1e9))
        self.durations.add(late_ns)
        self._highest_ns = max(self._highest_ns, late_ns)
        self.start()
