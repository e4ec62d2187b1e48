"""FastStream's own way of testing: handlers are called in memory, without any broker."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from faststream._internal.endpoint.utils import ParserComposition
from faststream._internal.parser import DefaultCodec
from faststream._internal.testing.broker import TestBroker, change_producer

from nsqx.client import JSON, Codec, Message
from nsqx.client.message import Origin
from nsqx.integrations.faststream.broker import NsqBroker
from nsqx.integrations.faststream.message import decode, parse
from nsqx.integrations.faststream.publisher import NsqProducer, NsqPublishCommand, NsqPublisher
from nsqx.integrations.faststream.subscriber import NsqSubscriber

__all__ = ["TestNsqBroker"]

_CHANNEL = "test"


class TestNsqBroker(TestBroker[NsqBroker], broker=NsqBroker):
    """
    Replaces the connection of a broker while its block runs.

    What is published goes to one subscriber of each channel of its topic, and errors of handlers
    come back to who published. For tests with a real nsqd there is ``nsqx.testing``.
    """

    def create_publisher_fake_subscriber(
        self, broker: NsqBroker, publisher: NsqPublisher
    ) -> tuple[NsqSubscriber, bool]:
        """Return the subscriber that gets what ``publisher`` publishes, and if it is a real one."""
        for subscriber in _subscribers(self.brokers):
            if subscriber.topic == publisher.topic:
                return subscriber, True
        topic = publisher.topic.removeprefix(broker.config.prefix)
        return broker.subscriber(topic, _CHANNEL, persistent=False), False

    @contextmanager
    def _patch_producer(self, broker: NsqBroker) -> Iterator[None]:
        with change_producer(broker.config.broker_config, _FakeProducer(broker, self.brokers)):
            yield

    async def _fake_connect(self, broker: NsqBroker, *arguments: Any, **options: Any) -> None:
        """There is nothing to connect to."""


class _FakeProducer(NsqProducer):
    """Calls subscribers instead of publishing."""

    def __init__(self, broker: NsqBroker, brokers: Sequence[NsqBroker]) -> None:
        super().__init__()
        self._brokers = brokers
        self._parser = ParserComposition(broker._parser, parse)
        self._decoder = ParserComposition(broker._decoder, decode)
        self.codec = broker.config.broker_codec or DefaultCodec()
        self._serializer = broker.config.fd_config._serializer
        self._count = 0

    async def publish(self, cmd: NsqPublishCommand) -> None:
        body, _ = await self.codec.encode(cmd.body, self._serializer)
        one_of_each_channel = {
            subscriber.channel: subscriber
            for subscriber in _subscribers(self._brokers)
            if subscriber.topic == cmd.destination
        }
        for subscriber in one_of_each_channel.values():
            self._count += 1
            message = Message(
                _FakeSource(subscriber.topic, subscriber.channel),
                0,
                1,
                b"%016x" % self._count,
                body,
            )
            await subscriber.process_message(message)


class _FakeSource:
    """Takes all answers, and does nothing."""

    codec: Codec = JSON

    def __init__(self, topic: str, channel: str) -> None:
        self.origin = Origin(topic, channel)

    def finish(self, message: Message) -> bool:
        return True

    def requeue(self, message: Message, delay: float | None, backoff: bool) -> bool:
        return True

    def touch(self, message: Message) -> bool:
        return True

    def is_open(self, message: Message) -> bool:
        return True

    def give_back(self, message: Message) -> None:
        """It goes nowhere."""

    def hold(self, message: Message) -> None:
        """Nothing to keep."""

    def release(self, message: Message) -> None:
        """Nothing was kept."""


def _subscribers(brokers: Sequence[NsqBroker]) -> Iterator[NsqSubscriber]:
    for broker in brokers:
        for subscriber in broker.subscribers:
            assert isinstance(subscriber, NsqSubscriber)
            yield subscriber
