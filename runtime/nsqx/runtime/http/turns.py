"""
How much of one turn of the event loop goes to requests, so that others have theirs.

Requests that came at once are answered one after the other before any socket is looked at again:
fifty that ask for all there is would hold everybody else up for as long as all fifty take. So
when those of a turn have taken their time, the rest wait for the next turns, in their order.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

__all__ = ["Turns"]

TURN_S = 0.001  # half of it costs a sixth of all requests per second
WOKEN_MAX = 8  # of those that wait, at each turn: whoever finds no time left waits again


class Turns:
    """Lets requests begin. One for each listener."""

    def __init__(self, turn_s: float = TURN_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._turn_s = turn_s
        self._clock = clock
        self._began: float | None = None  # when the first of this turn began
        self._ending: asyncio.Handle | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._again: list[asyncio.Future[None]] = []  # were woken, and found no time

    async def enter(self) -> None:
        """Return when there is time for a request: the first of a turn always has some."""
        if self._waiting or not self._has_time():
            await self._wait(self._waiting)
            while not self._has_time():
                await self._wait(self._again)

    def _has_time(self) -> bool:
        now = self._clock()
        if self._began is None:
            self._began = now
            self._end_soon()
        return now - self._began < self._turn_s

    async def _wait(
        self, queue: "deque[asyncio.Future[None]] | list[asyncio.Future[None]]"
    ) -> None:
        ready = asyncio.get_running_loop().create_future()
        queue.append(ready)
        self._end_soon()
        await ready  # who is cancelled meanwhile is woken in vain

    def _end_soon(self) -> None:
        if self._ending is None:
            self._ending = asyncio.get_running_loop().call_soon(self._end_turn)

    def _end_turn(self) -> None:
        self._ending = self._began = None
        self._waiting.extendleft(reversed(self._again))
        self._again.clear()
        for _ in range(min(WOKEN_MAX, len(self._waiting))):
            ready = self._waiting.popleft()
            if not ready.done():
                ready.set_result(None)
        if self._waiting:
            self._end_soon()  # behind those that were woken
