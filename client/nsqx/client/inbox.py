"""Messages that were received and not yet taken by the user."""

import asyncio
from collections import deque
from collections.abc import Callable, Container, Iterable
from contextlib import suppress
from itertools import filterfalse

from nsqx.client.message import Message
from nsqx.protocol.errors import NsqxError

__all__ = ["Inbox", "InboxClosedError"]


class InboxClosedError(NsqxError):
    """Nothing comes any more. Never seen by users."""


class Inbox:
    """
    A queue whose common case costs nothing: ``at_hand.popleft()`` while there are some.

    Which are at hand is decided by who calls ``bring``; others wait behind them. ``get`` is for
    when there are none at all. The bound of the whole is the consumer's ``max_in_flight``.
    """

    def __init__(self) -> None:
        self.at_hand: deque[Message] = deque()
        self.all_at_hand = False  # for who takes in other threads; set before the first comes
        self.is_closed = False
        self.on_wait: Callable[[], None] | None = None  # is called when someone has to wait
        self.behind: list[Message] = []  # read it only
        self._woken = 0  # waiters that have not run since
        self._waiters: deque[asyncio.Future[None]] = deque()

    def __len__(self) -> int:
        return len(self.at_hand) + len(self.behind)

    def put_batch(self, messages: Iterable[Message]) -> None:
        """Add messages, and wake as many waiters as there is something for."""
        (self.at_hand if self.all_at_hand else self.behind).extend(messages)
        if self._waiters:
            self._wake(len(self))

    def bring(self, count: int) -> None:
        """Put so many more at hand, as far as there are so many."""
        self.at_hand.extend(self.behind[:count])
        del self.behind[:count]  # moves 8 bytes for each one that stays

    def take_batch(self, limit: int) -> list[Message]:
        """Take at most ``limit`` messages without waiting."""
        self.bring(max(limit - len(self.at_hand), 0))
        popleft = self.at_hand.popleft
        return [popleft() for _ in range(min(limit, len(self.at_hand)))]

    async def get(self) -> Message:
        """
        Take a message, and wait for one if there is none.

        Raises:
            InboxClosedError: it is closed and empty.
        """
        while not self.at_hand and not self.behind:
            if self.is_closed:
                raise InboxClosedError
            await self._wait()
        if not self.at_hand:
            self.bring(1)
        return self.at_hand.popleft()

    @property
    def wanted(self) -> int:
        """How many messages are waited for, those included that have come for it just now."""
        return self._woken + sum(not waiter.done() for waiter in self._waiters)

    def drop(self, messages: Container[Message]) -> list[Message]:
        """Remove messages, and return those that were here. Costs a pass over all."""
        return self.take_if(messages.__contains__)

    def take_if(self, condition: Callable[[Message], bool]) -> list[Message]:
        """
        Remove and return all messages for which something holds. Costs a pass over all.

        Another thread may take messages meanwhile: each is taken once.
        """
        waiting = self.at_hand
        taken: list[Message] = []
        with suppress(IndexError):  # fewer than there were: someone else took the others
            for _ in range(len(waiting)):
                message = waiting.popleft()
                (taken if condition(message) else waiting).append(message)
        taken += filter(condition, self.behind)
        self.behind[:] = filterfalse(condition, self.behind)
        return taken

    def close(self) -> list[Message]:
        """End all waits. Returns the messages that nobody took."""
        self.is_closed = True
        self._wake(len(self._waiters))
        return self.take_batch(len(self))

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if self.on_wait is not None:
            self.on_wait()
        try:
            await waiter
            self._woken -= 1
        except asyncio.CancelledError:
            # Woken and cancelled in the same turn: pass it on, or the message waits unseen.
            if waiter.done() and not waiter.cancelled():
                self._woken -= 1
                self._wake(1)
            raise

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._woken += 1
                count -= 1
