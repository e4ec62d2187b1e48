"""The broker: declares subscribers and publishers, connects and disconnects."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from faststream._internal.broker import BrokerUsecase
from faststream._internal.broker.registrator import Registrator
from faststream._internal.broker.router import BrokerRouter
from faststream._internal.configs import BrokerConfig
from faststream._internal.constants import EMPTY
from faststream._internal.di import FastDependsConfig
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream._internal.logger import LoggerState
from faststream._internal.logger.params_storage import EmptyLoggerStorage, ManualLoggerStorage
from faststream.middlewares import AckPolicy
from faststream.specification.schema import BrokerSpec

from nsqx.client import Message, Nsq, NsqError
from nsqx.integrations.faststream.publisher import (
    NsqProducer,
    NsqPublishCommand,
    NsqPublisher,
    NsqPublisherConfig,
    NsqPublisherSpecification,
    NsqPublisherSpecificationConfig,
    no_request,
)
from nsqx.integrations.faststream.subscriber import (
    NsqSubscriber,
    NsqSubscriberConfig,
    NsqSubscriberSpecification,
    NsqSubscriberSpecificationConfig,
)

__all__ = ["NsqBroker", "NsqRegistrator", "NsqRouter"]

_log = logging.getLogger("nsqx.faststream")

PING_SECONDS = 10.0


@dataclass(kw_only=True)
class NsqBrokerConfig(BrokerConfig):
    nsq: Nsq | None = None  # routers have none


class NsqRegistrator(Registrator[Message, NsqBrokerConfig]):
    """What brokers and routers have in common."""

    def subscriber(  # type: ignore[override]  # every broker of FastStream has its own arguments
        self,
        topic: str,
        channel: str,
        *,
        max_workers: int = 1,
        ack_policy: AckPolicy = EMPTY,
        dependencies: Sequence[Any] = (),
        parser: Any = None,
        decoder: Any = None,
        codec: Any = None,
        title: str | None = None,
        description: str | None = None,
        include_in_schema: bool = True,
        persistent: bool = True,
        **options: Any,
    ) -> NsqSubscriber:
        """
        Declare a subscriber; decorate functions with what this returns.

        Args:
            topic, channel: created if they do not exist. A router's prefix goes before the topic.
            max_workers: how many messages are handled at the same time.
            ack_policy: what the end of a handler means; ``NACK_ON_ERROR`` if not given.
            dependencies, parser, decoder, codec: see FastStream.
            title, description, include_in_schema: for AsyncAPI.
            persistent: whether the broker keeps it alive.
            options: of ``nsqx.client.Consumer``, such as ``max_in_flight`` and ``max_attempts``.
        """
        outer: Any = self.config  # behaves as the configuration of the broker
        calls: CallsCollection[Message] = CallsCollection()
        config = NsqSubscriberConfig(
            topic=topic,
            channel=channel,
            max_workers=max_workers,
            options=options,
            _ack_policy=ack_policy,
            _outer_config=outer,
        )
        about = NsqSubscriberSpecificationConfig(
            topic=topic,
            channel=channel,
            title_=title,
            description_=description,
            include_in_schema=include_in_schema,
        )
        subscriber = NsqSubscriber(config, NsqSubscriberSpecification(outer, about, calls), calls)
        super().subscriber(subscriber, persistent=persistent)
        return subscriber.add_call(
            parser_=parser, decoder_=decoder, dependencies_=dependencies, codec_=codec
        )

    def publisher(  # type: ignore[override]  # as above
        self,
        topic: str,
        *,
        title: str | None = None,
        description: str | None = None,
        schema: Any = None,
        include_in_schema: bool = True,
        persistent: bool = True,
    ) -> NsqPublisher:
        """
        Declare a publisher: what a function returns that it decorates goes to the topic.

        Args:
            topic: created if it does not exist. A router's prefix goes before it.
            title, description, schema, include_in_schema: for AsyncAPI.
            persistent: whether the broker keeps it alive.
        """
        outer: Any = self.config
        about = NsqPublisherSpecificationConfig(
            topic=topic,
            title_=title,
            description_=description,
            schema_=schema,
            include_in_schema=include_in_schema,
        )
        specification: Any = NsqPublisherSpecification(outer, about)
        config = NsqPublisherConfig(topic=topic, _outer_config=outer)
        publisher = NsqPublisher(config, specification)
        super().publisher(publisher, persistent=persistent)
        return publisher


class NsqRouter(NsqRegistrator, BrokerRouter[Message, NsqBrokerConfig]):
    """Subscribers and publishers to be included in a broker; ``prefix`` goes before topics."""

    def __init__(
        self,
        prefix: str = "",
        *,
        dependencies: Sequence[Any] = (),
        middlewares: Sequence[Any] = (),
        routers: Iterable[NsqRegistrator] = (),
        parser: Any = None,
        decoder: Any = None,
        include_in_schema: bool | None = None,
        ack_policy: AckPolicy = EMPTY,
    ) -> None:
        super().__init__(
            handlers=(),
            config=NsqBrokerConfig(
                prefix=prefix,
                broker_middlewares=middlewares,
                broker_dependencies=dependencies,
                broker_parser=parser,
                broker_decoder=decoder,
                include_in_schema=include_in_schema,
                ack_policy=ack_policy,
            ),
            routers=routers,
        )


class NsqBroker(NsqRegistrator, BrokerUsecase[Message, Nsq, NsqBrokerConfig]):
    """A broker over an ``Nsq``, which it opens and closes."""

    def __init__(
        self,
        nsq: Nsq | str,
        *,
        graceful_timeout: float = 15.0,
        ack_policy: AckPolicy = EMPTY,
        decoder: Any = None,
        parser: Any = None,
        codec: Any = None,
        dependencies: Sequence[Any] = (),
        middlewares: Sequence[Any] = (),
        routers: Iterable[NsqRegistrator] = (),
        logger: logging.Logger | None = _log,
        log_level: int = logging.INFO,
        apply_types: bool = True,
        serializer: Any = EMPTY,
        description: str | None = None,
    ) -> None:
        """
        Nothing is connected yet. What is not said here is as in FastStream.

        Args:
            nsq: or its URL, such as ``nsq+lookupd://127.0.0.1:4161``.
            graceful_timeout: seconds that handlers may take to end when the broker stops.
            ack_policy: of all subscribers that have none of their own.
            logger: None for none.
            description: for AsyncAPI.
        """
        opened = Nsq(nsq) if isinstance(nsq, str) else nsq
        super().__init__(
            routers=routers,
            config=NsqBrokerConfig(
                nsq=opened,
                producer=NsqProducer(parser, decoder),
                broker_middlewares=middlewares,
                broker_parser=parser,
                broker_decoder=decoder,
                broker_codec=codec,
                broker_dependencies=dependencies,
                graceful_timeout=graceful_timeout,
                ack_policy=ack_policy,
                logger=LoggerState(
                    log_level, ManualLoggerStorage(logger) if logger else EmptyLoggerStorage()
                ),
                fd_config=FastDependsConfig(use_fastdepends=apply_types, serializer=serializer),
                extra_context={"broker": self},
            ),
            specification=BrokerSpec(
                url=opened.addresses,
                protocol="nsq",
                protocol_version="V2",
                description=description,
                tags=(),
                security=None,
            ),
        )
        self._nsq = opened

    async def _connect(self) -> Nsq:
        if not self._nsq.is_open:
            await self._nsq.__aenter__()
        config = self.config.broker_config
        assert isinstance(config.producer, NsqProducer)
        config.producer.connect(self._nsq, config.fd_config._serializer, config.broker_codec)
        return self._nsq

    async def start(self) -> None:
        """Connect, and start all subscribers."""
        await self.connect()
        await super().start()

    async def stop(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> None:
        """Drain all subscribers, and disconnect."""
        await super().stop(exc_type, exc_val, exc_tb)
        producer = self.config.broker_config.producer
        if self._connection is not None and isinstance(producer, NsqProducer):
            producer.disconnect()
            self._connection = None
            await self._nsq.close()

    async def publish(
        self,
        message: Any,
        topic: str,
        *,
        delay: float | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """
        Publish a message, and return when nsqd has accepted it.

        Args:
            message: what FastStream can encode.
            topic: created if it does not exist.
            delay: seconds before it is delivered.
            correlation_id: for middlewares; it does not travel.
        """
        command = NsqPublishCommand(message, topic, delay=delay, correlation_id=correlation_id)
        await self._basic_publish(command, producer=self.config.producer)

    async def request(self, *arguments: Any, **options: Any) -> Any:
        """
        Not possible with NSQ.

        Raises:
            FeatureNotSupportedException: always.
        """
        no_request()

    async def ping(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - FastStream's
        """Whether nsqds to publish to are known, and all of them reachable."""
        try:
            await self._nsq.ready(timeout or PING_SECONDS)
        except NsqError:
            return False
        return True
