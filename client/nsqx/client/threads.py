"""Threads for functions that may block, and that nobody can stop."""

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["LEFT_BEHIND_MAX", "Threads", "event_loop"]

# The event loop that waits for what runs in this thread.
event_loop: contextvars.ContextVar[asyncio.AbstractEventLoop | None] = contextvars.ContextVar(
    "nsqx_event_loop", default=None
)

LEFT_BEHIND_MAX = 32  # calls that hang, and nobody waits for any more

_Outcome = tuple[Any, BaseException | None]


class Threads:
    """
    Calls functions in threads, as many as there are calls at a time.

    They are daemon threads, which those of ``ThreadPoolExecutor`` are not: a function that hangs
    keeps no program from ending. But each that hangs has a thread, so there is an end to those that
    may be left behind: see ``room``.
    """

    def __init__(self, name: str, left_behind_max: int = LEFT_BEHIND_MAX) -> None:
        self._name = name
        self._left_behind_max = left_behind_max
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0
        self._busy = 0
        self._left_behind = 0
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def has_room(self) -> bool:
        """Whether few enough calls were left behind that one more may be."""
        return self._has_room.is_set()

    async def room(self) -> None:
        """Wait until one of the calls that were left behind has returned, if they are too many."""
        await self._has_room.wait()

    async def call(self, function: Callable[[], Any]) -> Any:
        """
        Return what a function returns; it has the context variables of the caller.

        If the caller is cancelled, the call goes on, and nobody learns how it ends.

        Raises:
            BaseException: what the function raised.
        """
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[_Outcome] = loop.create_future()
        context = contextvars.copy_context()
        context.run(event_loop.set, loop)

        def end(outcome: _Outcome) -> None:
            self._busy -= 1
            if ended.done():
                self._left_behind -= 1
                if self._left_behind < self._left_behind_max:
                    self._has_room.set()
            else:
                ended.set_result(outcome)

        def call() -> None:
            try:
                outcome: _Outcome = context.run(function), None
            except BaseException as exc:  # in a future, StopIteration would be an error of its own
                outcome = None, exc
            if not loop.is_closed():
                loop.call_soon_threadsafe(end, outcome)

        self._busy += 1
        if self._busy > self._threads:
            self._threads += 1
            name = f"{self._name} {self._threads}"
            threading.Thread(target=self._work, name=name, daemon=True).start()
        self._calls.put(call)
        try:
            result, error = await ended
        except asyncio.CancelledError:
            if ended.cancelled():  # else it has ended in the same turn
                self._leave_behind()
            raise
        if error is not None:
            raise error
        return result

    def _leave_behind(self) -> None:
        self._left_behind += 1
        if self._left_behind >= self._left_behind_max:
            self._has_room.clear()

    def close(self) -> None:
        """Let the threads end; those that hang do when their function returns."""
        for _ in range(self._threads):
            self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
