"""
The client for code without an event loop: the same names, and calls that wait::

    from nsqx.client import sync

    with sync.Nsq(lookupd="127.0.0.1:4161") as nsq:
        nsq.publish("orders", {"id": 1})
        with nsq.consume("orders", "billing") as messages:
            for message in messages:
                with message:
                    print(message.decode())

Theory of operation. An ``Nsq`` has a thread with an event loop, in which the asynchronous client
works; its heartbeats and its touches do not depend on what the caller does meanwhile. Every call
goes there and back, some 0.1 ms. Messages are fetched as many as have come, not one by one, so that
the loop over them pays for that only once per batch.

May be used by several threads at once. Not after ``fork``: make a new one in the child.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import aclosing, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from nsqx.client.background import BackgroundLoop
from nsqx.client.consumer import Consumer as AsyncConsumer, ConsumerStats
from nsqx.client.message import Message as AsyncMessage
from nsqx.client.nsq import Nsq as AsyncNsq

__all__ = ["Consumer", "Message", "Nsq"]

T = TypeVar("T")

# Batches are what has come already: nobody waits for more of it.
_NO_WAIT = 0.0
_BATCH_MESSAGES_MAX = 1000


class Nsq:
    """See ``nsqx.client.Nsq``; the arguments are the same."""

    def __init__(self, url: str | None = None, **options: Any) -> None:
        """
        Nothing is connected yet: ``with`` does that.

        Raises:
            ValueError: there is no address, or one is wrong.
        """
        self._nsq = AsyncNsq(url, **options)
        self._loop: BackgroundLoop | None = None

    @classmethod
    def from_env(cls, prefix: str = "NSQ_", **options: Any) -> "Nsq":
        """See ``nsqx.client.Nsq.from_env``."""
        made = cls.__new__(cls)
        made._nsq, made._loop = AsyncNsq.from_env(prefix, **options), None
        return made

    def __enter__(self) -> Self:
        loop = BackgroundLoop("nsqx client")
        loop.start()
        self._loop = loop
        loop.run(self._nsq.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Wait for what is being published, and disconnect."""
        loop, self._loop = self._loop, None
        if loop is not None:
            try:
                loop.run(self._nsq.close())
            finally:
                loop.stop()

    def publish(
        self,
        topic: str,
        value: object,
        *,
        delay: float | None = None,
        timeout: float | None = None,
    ) -> None:
        """See ``nsqx.client.Nsq.publish``."""
        self._running().run(self._nsq.publish(topic, value, delay=delay, timeout=timeout))

    def publish_many(
        self, topic: str, values: Iterable[object], *, timeout: float | None = None
    ) -> int:
        """See ``nsqx.client.Nsq.publish_many``. ``values`` is read in another thread."""
        return self._running().run(self._nsq.publish_many(topic, values, timeout=timeout))

    def consume(self, topic: str, channel: str, **options: Any) -> "Consumer":
        """See ``nsqx.client.Nsq.consume``. To be entered with ``with``."""
        return Consumer(self._running(), self._nsq, topic, channel, options)

    def ready(self, timeout: float | None = None) -> None:
        """See ``nsqx.client.Nsq.ready``."""
        self._running().run(self._nsq.ready(timeout))

    def _running(self) -> BackgroundLoop:
        if self._loop is None:
            raise RuntimeError("this Nsq is not open: use with")
        return self._loop


class Consumer:
    """Iterates over messages; see ``nsqx.client.Consumer``."""

    def __init__(
        self, loop: BackgroundLoop, nsq: AsyncNsq, topic: str, channel: str, options: dict[str, Any]
    ) -> None:
        self._loop = loop
        self._make = partial(nsq.consume, topic, channel, **options)
        self._consumer: AsyncConsumer | None = None
        self._fetched: deque[AsyncMessage] = deque()

    def __enter__(self) -> Self:
        # Made there, because it belongs to that event loop.
        self._consumer = self._loop.run(self._open())
        return self

    async def _open(self) -> AsyncConsumer:
        return await self._make().__aenter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Return what was not taken, wait until the rest is answered, and disconnect."""
        self._loop.run(self._close())

    async def _close(self) -> None:
        while self._fetched:
            self._fetched.popleft().requeue(0, backoff=False)
        if self._consumer is not None:
            await self._consumer.close()

    @property
    def stats(self) -> ConsumerStats:
        """See ``nsqx.client.Consumer.stats``."""
        return self._opened().stats

    def __iter__(self) -> "Iterator[Message]":
        return self

    def __next__(self) -> "Message":
        while True:
            with suppress(IndexError):  # another thread may have been faster
                message = self._fetched.popleft()
                if message.is_open:  # else it has waited here for too long
                    return Message(self._loop, message)
                continue
            if not self._loop.run(self._fetch()):
                raise StopIteration

    def get(self, timeout: float) -> "Message | None":
        """Return the next message, or None if none comes within so many seconds or any more."""
        if not self._fetched:
            with suppress(TimeoutError):
                self._loop.run(asyncio.wait_for(self._fetch(), timeout))
        return next(self) if self._fetched else None

    def batches(self, max: int = 100, wait: float = 0.05) -> "Iterator[list[Message]]":
        """See ``nsqx.client.Consumer.batches``."""
        while batch := self._loop.run(self._take_batch(max, wait)):
            yield [Message(self._loop, message) for message in batch]

    @property
    def max_in_flight(self) -> int:
        """See ``nsqx.client.Consumer.max_in_flight``; may be set as well."""
        return self._opened().max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, count: int) -> None:
        self._loop.call(lambda: setattr(self._opened(), "max_in_flight", count))

    async def _fetch(self) -> bool:
        """Wait for messages, and take all that came. False: nothing comes any more."""
        batch = await self._take_batch(_BATCH_MESSAGES_MAX, _NO_WAIT)
        self._fetched.extend(batch)
        return bool(batch)

    async def _take_batch(self, max: int, wait: float) -> list[AsyncMessage]:
        """Wait for messages. An empty list: nothing comes any more."""
        batches = self._opened().batches(max, wait)
        async with aclosing(batches):
            async for batch in batches:
                return batch
        return []

    def _opened(self) -> AsyncConsumer:
        if self._consumer is None:
            raise RuntimeError("this consumer is not open: use with")
        return self._consumer


class Message:
    """A message, and the answers to it; see ``nsqx.client.Message``."""

    __slots__ = ("_loop", "_message")

    def __init__(self, loop: BackgroundLoop, message: AsyncMessage) -> None:
        self._loop = loop
        self._message = message

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def id(self) -> bytes:
        return self._message.id

    @property
    def attempts(self) -> int:
        return self._message.attempts

    @property
    def timestamp_ns(self) -> int:
        return self._message.timestamp_ns

    @property
    def age(self) -> float:
        return self._message.age

    @property
    def is_open(self) -> bool:
        """Whether an answer would still be sent."""
        return self._message.is_open

    @overload
    def decode(self, kind: type[T]) -> T: ...
    @overload
    def decode(self, kind: Any = ...) -> Any: ...
    def decode(self, kind: Any = Any) -> Any:
        """See ``nsqx.client.Message.decode``."""
        return self._message.decode(kind)

    def finish(self) -> bool:
        """See ``nsqx.client.Message.finish``."""
        return self._loop.call(self._message.finish)

    def requeue(self, delay: float | None = None, *, backoff: bool = True) -> bool:
        """See ``nsqx.client.Message.requeue``."""
        return self._loop.call(lambda: self._message.requeue(delay, backoff=backoff))

    def touch(self) -> bool:
        """See ``nsqx.client.Message.touch``. Not needed within ``with``."""
        return self._loop.call(self._message.touch)

    def __enter__(self) -> Self:
        self._loop.post(self._message.begin)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._loop.post(lambda: self._message.end(error))

    def __repr__(self) -> str:
        return repr(self._message)
