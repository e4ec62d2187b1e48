"""Polling on for a moment before the event loop sleeps (decision record 8)."""

import asyncio
import time
from collections.abc import Callable

__all__ = ["BusyPoll"]

# With more active connections than this, the loop need not poll to find something to do.
CONNECTIONS_MAX = 2
COUNT_NS = 1_000_000  # how long a connection counts as active
PAUSE_S = 0.02  # until it is looked at anew whether polling pays


class BusyPoll:
    """
    Keeps the loop awake while one or two connections send again and again.

    A producer that waits for each answer sends again within microseconds; going to sleep in the
    kernel and being woken takes longer than serving it. With more than a few such producers there
    is always one whose request has arrived, and polling only costs.

    A connection that received something calls `begin` if `may_begin`; while `is_on` it adds itself
    to `active` and sets `has_traffic`.
    """

    __slots__ = (
        "_clock",
        "_counting_since_ns",
        "_duration_ns",
        "_loop",
        "_since_ns",
        "active",
        "has_traffic",
        "is_on",
        "may_begin",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        duration_ns: int,
        *,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.is_on = False
        self.may_begin = duration_ns > 0
        self.has_traffic = False  # since `_poll` looked last
        self.active: set[object] = set()  # those that sent something of late
        self._loop = loop
        self._clock = clock
        self._duration_ns = duration_ns
        self._since_ns = self._counting_since_ns = 0

    def begin(self, connection: object) -> None:
        """Poll from now on, since a connection has sent something."""
        self.is_on = True
        self.may_begin = False
        self._since_ns = self._counting_since_ns = self._clock()
        self.active.clear()
        self.active.add(connection)
        self._loop.call_soon(self._poll)

    def _poll(self) -> None:
        now_ns = self._clock()
        if len(self.active) > CONNECTIONS_MAX:
            self._end()
            self._loop.call_later(PAUSE_S, self._allow)
            return
        if self.has_traffic:
            self.has_traffic = False
            self._since_ns = now_ns
            if now_ns - self._counting_since_ns > COUNT_NS:
                self._counting_since_ns = now_ns
                self.active.clear()
        if now_ns - self._since_ns < self._duration_ns:
            self._loop.call_soon(self._poll)
        else:
            self._end()
            self.may_begin = True

    def _end(self) -> None:
        self.is_on = False
        self.active.clear()  # who is gone is not held

    def _allow(self) -> None:
        self.may_begin = True
