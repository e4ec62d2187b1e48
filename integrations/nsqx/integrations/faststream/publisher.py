"""The publishing side: commands, the producer that carries them out, and declared publishers."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from faststream._internal.configs import PublisherSpecificationConfig, PublisherUsecaseConfig
from faststream._internal.endpoint.publisher import PublisherSpecification, PublisherUsecase
from faststream._internal.endpoint.utils import ParserComposition
from faststream._internal.parser import DefaultCodec
from faststream._internal.producer import ProducerProto
from faststream.exceptions import FeatureNotSupportedException, IncorrectState
from faststream.response.publish_type import PublishType
from faststream.response.response import PublishCommand
from faststream.specification.asyncapi.utils import resolve_payloads
from faststream.specification.schema import Message as MessageSpec, Operation, PublisherSpec

from nsqx.client import Nsq
from nsqx.integrations.faststream.message import decode, parse

__all__ = [
    "NsqProducer",
    "NsqPublishCommand",
    "NsqPublisher",
    "NsqPublisherConfig",
    "NsqPublisherSpecification",
    "NsqPublisherSpecificationConfig",
    "no_request",
]


class NsqPublishCommand(PublishCommand):
    """What to publish where. ``delay`` is in seconds."""

    def __init__(
        self,
        body: Any,
        topic: str,
        *,
        delay: float | None = None,
        headers: dict[str, Any] | None = None,
        correlation_id: str | None = None,
        _publish_type: PublishType = PublishType.PUBLISH,
    ) -> None:
        super().__init__(
            body,
            destination=topic,
            headers=headers,
            correlation_id=correlation_id,
            _publish_type=_publish_type,
        )
        self.delay = delay

    @classmethod
    def from_cmd(cls, cmd: PublishCommand) -> "NsqPublishCommand":
        if isinstance(cmd, NsqPublishCommand):
            return cmd
        return cls(
            cmd.body,
            cmd.destination,
            headers=cmd.headers,
            correlation_id=cmd.correlation_id,
            _publish_type=cmd.publish_type,
        )


class NsqProducer(ProducerProto[NsqPublishCommand]):
    """Carries out commands."""

    def __init__(self, parser: Any = None, decoder: Any = None) -> None:
        self._parser = ParserComposition(parser, parse)
        self._decoder = ParserComposition(decoder, decode)
        self.codec: Any = DefaultCodec()
        self._serializer: Any = None
        self._nsq: Nsq | None = None

    def connect(self, nsq: Nsq, serializer: Any, codec: Any) -> None:
        self._nsq, self._serializer, self.codec = nsq, serializer, codec or DefaultCodec()

    def disconnect(self) -> None:
        self._nsq = None

    async def publish(self, cmd: NsqPublishCommand) -> None:
        if self._nsq is None:
            raise IncorrectState("the broker is not connected")
        body, _ = await self.codec.encode(cmd.body, self._serializer)
        await self._nsq.publish(cmd.destination, body, delay=cmd.delay)

    async def request(self, cmd: NsqPublishCommand) -> Any:
        no_request()

    async def publish_batch(self, cmd: NsqPublishCommand) -> Any:
        raise FeatureNotSupportedException("publish the messages one by one")


def no_request() -> None:
    """Raise what every attempt at request and reply must end with."""
    raise FeatureNotSupportedException("NSQ has no headers, so nobody could answer a request")


@dataclass(kw_only=True)
class NsqPublisherConfig(PublisherUsecaseConfig):
    topic: str


@dataclass(kw_only=True)
class NsqPublisherSpecificationConfig(PublisherSpecificationConfig):
    topic: str


class NsqPublisherSpecification(PublisherSpecification[Any, NsqPublisherSpecificationConfig]):
    """What AsyncAPI says of a publisher."""

    @property
    def topic(self) -> str:
        return f"{self._outer_config.prefix}{self.config.topic}"

    @property
    def name(self) -> str:
        return self.config.title_ or f"{self.topic}:Publisher"

    def get_schema(self) -> dict[str, PublisherSpec]:
        payload = resolve_payloads(self.get_payloads(), "Publisher")
        message = MessageSpec(title=f"{self.name}:Message", payload=payload)
        return {
            self.name: PublisherSpec(
                address=self.topic,
                description=self.config.description_,
                operation=Operation(message=message, bindings=None),
                bindings=None,
            )
        }


class NsqPublisher(PublisherUsecase):
    """A declared publisher: a decorator of handlers, or an object with ``publish``."""

    specification: Any  # an NsqPublisherSpecification, which FastStream's type cannot say

    @property
    def topic(self) -> str:
        return str(self.specification.topic)

    async def publish(
        self,
        message: Any,
        topic: str = "",
        *,
        delay: float | None = None,
        correlation_id: str | None = None,
    ) -> None:
        """Publish a message, after ``delay`` seconds, to the declared topic or another one."""
        command = NsqPublishCommand(
            message, topic or self.topic, delay=delay, correlation_id=correlation_id
        )
        await self._basic_publish(
            command, producer=self._outer_config.producer, _extra_middlewares=()
        )

    async def _publish(self, cmd: PublishCommand, *, _extra_middlewares: Iterable[Any]) -> None:
        """Publish what a handler returned. Nothing, if it returned None."""
        command = NsqPublishCommand.from_cmd(cmd)
        command.destination = self.topic
        await self._basic_publish(
            command, producer=self._outer_config.producer, _extra_middlewares=_extra_middlewares
        )

    async def request(self, *arguments: Any, **options: Any) -> Any:
        """
        Not possible with NSQ.

        Raises:
            FeatureNotSupportedException: always.
        """
        no_request()
