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
goes there and back, some 0.1 ms. Messages that have come already are taken from where they lie,
which needs no such trip; those that nobody takes remain the consumer's, which gives them back in
time.

Whatever the caller hands over to be read is read in the caller's thread, which a cursor of a
database may insist on. May be used by several threads at once. Not from the event loop's own
thread, nor after ``fork``: that is an error at once.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import aclosing, suppress
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, overload

from nsqx.client.background import BackgroundLoop
from nsqx.client.consumer import Consumer as AsyncConsumer, ConsumerStats
from nsqx.client.errors import ClientClosed, NsqError, PartlyPublished
from nsqx.client.message import Message as AsyncMessage
from nsqx.client.nsq import Nsq as AsyncNsq
from nsqx.client.producer import BATCHES_IN_FLIGHT_MAX, batches
from nsqx.client.ranges import check_seconds

__all__ = ["Consumer", "Message", "Nsq"]

T = TypeVar("T")


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
        self._consumers: set[Consumer] = set()  # open ones; touched in the event loop only

    @classmethod
    def from_env(cls, prefix: str = "NSQ_", **options: Any) -> "Nsq":
        """See ``nsqx.client.Nsq.from_env``."""
        made = cls.__new__(cls)
        made._nsq, made._loop = AsyncNsq.from_env(prefix, **options), None
        made._consumers = set()
        return made

    def __enter__(self) -> Self:
        if self._loop is not None:
            raise ClientClosed("this Nsq is open already")
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
        """Close the consumers, wait for what is being published, and disconnect."""
        loop = self._loop
        if loop is not None:
            loop.check_thread()
            self._loop = None
            try:
                loop.run(self._close())
            finally:
                loop.stop()

    async def _close(self) -> None:
        await asyncio.gather(*[consumer._close() for consumer in self._consumers])
        await self._nsq.close()

    def publish(
        self,
        topic: str,
        value: object,
        *,
        delay: float | None = None,
        timeout: float | None = None,
    ) -> None:
        """See ``nsqx.client.Nsq.publish``."""
        loop, body = self._running(), self._nsq.encode(value)
        loop.run(self._nsq.publish(topic, body, delay=delay, timeout=timeout))

    def publish_many(
        self, topic: str, values: Iterable[object], *, timeout: float | None = None
    ) -> int:
        """
        See ``nsqx.client.Nsq.publish_many``. ``values`` is read in this thread.

        What ``values`` raises is raised; the batches before it are published, or being so.
        """
        loop, nsq = self._running(), self._nsq
        loop.check_thread()
        window: deque[tuple[Future[int], list[bytes]]] = deque()
        confirmed, unconfirmed = 0, list[bytes]()
        cause: BaseException | None = None

        def settle_oldest() -> None:
            nonlocal confirmed, cause
            future, batch = window.popleft()
            try:
                confirmed += future.result()
            except PartlyPublished as exc:
                unconfirmed.extend(batch)
                cause = cause or exc.__cause__ or exc
            except (NsqError, CancelledError) as exc:
                unconfirmed.extend(batch)
                cause = cause or exc

        for batch in batches(nsq.encode(value) for value in values):
            work = nsq.publish_many(topic, batch, timeout=timeout)
            window.append((_submitted(loop, work), batch))
            if len(window) >= BATCHES_IN_FLIGHT_MAX:
                settle_oldest()
            if cause is not None:
                break
        while window:
            settle_oldest()
        if cause is not None:
            raise PartlyPublished(confirmed, unconfirmed, cause) from cause
        return confirmed

    def consume(self, topic: str, channel: str, **options: Any) -> "Consumer":
        """See ``nsqx.client.Nsq.consume``. To be entered with ``with``."""
        make = partial(self._nsq.consume, topic, channel, **options)
        return Consumer(self._running(), make, self._consumers)

    def ready(self, timeout: float | None = None) -> None:
        """See ``nsqx.client.Nsq.ready``."""
        self._running().run(self._nsq.ready(timeout))

    def _running(self) -> BackgroundLoop:
        if self._loop is None:
            raise RuntimeError("this Nsq is not open: use with")
        return self._loop


def _submitted(loop: BackgroundLoop, work: Coroutine[Any, Any, T]) -> "Future[T]":
    """Start a coroutine; if it is too late for that, the future tells."""
    try:
        return loop.submit(work)
    except RuntimeError:
        refused: Future[T] = Future()
        refused.set_exception(ClientClosed("this Nsq was closed meanwhile"))
        return refused


class Consumer:
    """Iterates over messages; see ``nsqx.client.Consumer``."""

    def __init__(
        self,
        loop: BackgroundLoop,
        make: Callable[[], AsyncConsumer],
        opened: "set[Consumer]",
    ) -> None:
        self._loop = loop
        self._make = make
        self._others = opened  # and this one, while it is open
        self._consumer: AsyncConsumer | None = None
        self._is_closed = False

    def __enter__(self) -> Self:
        # Made there, because it belongs to that event loop.
        self._consumer = self._loop.run(self._open())
        return self

    async def _open(self) -> AsyncConsumer:
        consumer = self._make()
        consumer.share_with_threads()
        await consumer.__aenter__()
        self._others.add(self)
        return consumer

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Return what was not taken, wait until the rest is answered, and disconnect."""
        if not self._is_closed:
            self._loop.run(self._close())

    async def _close(self) -> None:
        if self._consumer is not None:
            await self._consumer.close()
            self._is_closed = True
            self._others.discard(self)

    @property
    def stats(self) -> ConsumerStats:
        """See ``nsqx.client.Consumer.stats``."""
        return self._opened().stats

    def __iter__(self) -> "Iterator[Message]":
        return self

    def __next__(self) -> "Message":
        if (message := self.get()) is None:
            raise StopIteration
        return message

    def get(self, timeout: float | None = None) -> "Message | None":
        """Return the next message, or None if none comes within so many seconds or any more."""
        if timeout is not None:
            check_seconds("timeout", timeout)
        if self._is_closed:
            return None
        self._loop.check_thread()  # also where nothing need be waited for: a fork has no messages
        message = self._opened().take_now()
        if message is None:
            message = self._loop.run(self._take(timeout))
        return Message(self._loop, message) if message is not None else None

    def fetch(self, max: int, timeout: float | None = None) -> "list[Message]":
        """See ``nsqx.client.Consumer.fetch``."""
        if self._is_closed:
            return []
        messages = self._loop.run(self._opened().fetch(max, timeout))
        return [Message(self._loop, message) for message in messages]

    def pause(self) -> None:
        """See ``nsqx.client.Consumer.pause``."""
        self._loop.call(self._opened().pause)

    def resume(self) -> None:
        """See ``nsqx.client.Consumer.resume``."""
        self._loop.call(self._opened().resume)

    @property
    def is_paused(self) -> bool:
        """Whether it was told to ``pause``."""
        return self._opened().is_paused

    def batches(self, max: int = 100, wait: float = 0.05) -> "Iterator[list[Message]]":
        """See ``nsqx.client.Consumer.batches``."""
        while not self._is_closed and (batch := self._loop.run(self._take_batch(max, wait))):
            yield [Message(self._loop, message) for message in batch]

    @property
    def max_in_flight(self) -> int:
        """See ``nsqx.client.Consumer.max_in_flight``; may be set as well."""
        return self._opened().max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, count: int) -> None:
        self._loop.call(lambda: setattr(self._opened(), "max_in_flight", count))

    async def _take(self, seconds: float | None = None) -> AsyncMessage | None:
        """Wait for a message. None: nothing comes in time, or any more."""
        with suppress(TimeoutError, StopAsyncIteration):
            async with asyncio.timeout(seconds):
                return await anext(self._opened())
        return None

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
    def topic(self) -> str:
        return self._message.topic

    @property
    def channel(self) -> str:
        return self._message.channel

    @property
    def nsqd(self) -> str:
        return self._message.nsqd

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
