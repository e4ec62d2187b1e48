"""
A taskiq broker over NSQ. Needs ``nsqx[taskiq]``.

    broker = NsqBroker(Nsq(lookupd="127.0.0.1:4161"), "tasks")

    @broker.task
    async def bill(order_id: int) -> None: ...

Run workers by ``taskiq worker module:broker``. All workers share one channel. A task is finished
in nsqd when taskiq acknowledges it, which it does when the task has ended, however that was: repeat
a failed one by taskiq's ``SimpleRetryMiddleware``. A task whose worker dies runs again
elsewhere, when its message times out; while it runs, it is touched.

The label ``delay`` (seconds) of a task puts it off.
"""

from collections.abc import AsyncGenerator
from functools import partial
from typing import Any

from taskiq import AckableMessage, AsyncBroker, BrokerMessage

from nsqx.client import Consumer, Message, Nsq

__all__ = ["NsqBroker"]

DELAY_LABEL = "delay"
MAX_IN_FLIGHT = 10


class NsqBroker(AsyncBroker):
    """Tasks are messages of one topic."""

    def __init__(
        self,
        nsq: Nsq,
        topic: str = "taskiq",
        channel: str = "workers",
        *,
        max_in_flight: int = MAX_IN_FLIGHT,
        **consumer_options: Any,
    ) -> None:
        """
        Nothing is connected yet: ``startup`` does that.

        Args:
            nsq: opened and closed by this broker.
            topic, channel: where tasks are.
            max_in_flight: how many tasks a worker process takes at a time; those it does not run
                yet count. At least its ``--max-async-tasks``.
            consumer_options: further ones, as for ``Consumer``.
        """
        super().__init__()
        self._nsq = nsq
        self._topic = topic
        self._channel = channel
        self._options = {"max_in_flight": max_in_flight, **consumer_options}
        self._consumer: Consumer | None = None

    async def startup(self) -> None:
        """Connect."""
        if not self._nsq.is_open:
            await self._nsq.__aenter__()
        await super().startup()

    async def shutdown(self) -> None:
        """Finish what runs, return what does not, and disconnect."""
        await super().shutdown()
        if self._consumer is not None:
            await self._consumer.close()
        await self._nsq.close()

    async def kick(self, message: BrokerMessage) -> None:
        """Publish a task."""
        delay = message.labels.get(DELAY_LABEL)
        seconds = float(delay) if delay is not None else None
        await self._nsq.publish(self._topic, message.message, delay=seconds)

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Yield tasks until ``shutdown``."""
        consumer = self._nsq.consume(self._topic, self._channel, **self._options)
        async with consumer:
            self._consumer = consumer
            async for message in consumer:
                # As if entered with "async with": it is touched until it is acknowledged.
                message.begin()
                yield AckableMessage(data=message.body, ack=partial(_acknowledge, message))


def _acknowledge(message: Message) -> None:
    message.end()
