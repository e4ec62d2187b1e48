"""Messages that were received and not yet taken by the user."""

import asyncio
from collections import deque
from collections.abc import Iterable

from nsqx.client.message import Message
from nsqx.protocol.errors import NsqxError

__all__ = ["Inbox", "InboxClosed"]


class InboxClosed(NsqxError):
    """Nothing comes any more. Never seen by users."""


class Inbox:
    """
    A queue whose common case costs nothing: ``messages.popleft()`` while there are some.

    ``get`` is for when there are none. Its bound is the consumer's ``max_in_flight``.
    """

    def __init__(self) -> None:
        self.messages: deque[Message] = deque()
        self.is_closed = False
        self._waiters: deque[asyncio.Future[None]] = deque()

    def put_batch(self, messages: Iterable[Message]) -> None:
        """Add messages, and wake as many waiters as there is something for."""
        self.messages.extend(messages)
        if self._waiters:
            self._wake(len(self.messages))

    def take_batch(self, limit: int) -> list[Message]:
        """Take at most ``limit`` messages without waiting."""
        popleft = self.messages.popleft
        return [popleft() for _ in range(min(limit, len(self.messages)))]

    async def get(self) -> Message:
        """
        Take a message, and wait for one if there is none.

        Raises:
            InboxClosed: it is closed and empty.
        """
        while not self.messages:
            if self.is_closed:
                raise InboxClosed
            await self._wait()
        return self.messages.popleft()

    def drop(self, messages: set[Message]) -> None:
        """Remove messages that are worth nothing any more. Costs a pass over all."""
        kept = [message for message in self.messages if message not in messages]
        self.messages.clear()
        self.messages.extend(kept)

    def close(self) -> list[Message]:
        """End all waits. Returns the messages that nobody took."""
        self.is_closed = True
        self._wake(len(self._waiters))
        return self.take_batch(len(self.messages))

    async def _wait(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # Woken and cancelled in the same turn: pass it on, or the message waits unseen.
            if waiter.done() and not waiter.cancelled():
                self._wake(1)
            raise

    def _wake(self, count: int) -> None:
        while count > 0 and self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                count -= 1
