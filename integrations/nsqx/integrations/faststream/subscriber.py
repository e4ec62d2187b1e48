"""The consuming side: a subscriber is a ``Consumer`` and the tasks that call handlers."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from typing import Any

from faststream._internal.configs import SubscriberSpecificationConfig, SubscriberUsecaseConfig
from faststream._internal.constants import EMPTY
from faststream._internal.endpoint.subscriber import SubscriberSpecification, SubscriberUsecase
from faststream._internal.endpoint.subscriber.call_item import CallsCollection
from faststream._internal.endpoint.utils import process_msg
from faststream.message import StreamMessage
from faststream.middlewares import AckPolicy
from faststream.specification.asyncapi.utils import resolve_payloads
from faststream.specification.schema import Message as MessageSpec, Operation, SubscriberSpec

from nsqx.client import JSON, Consumer, Message
from nsqx.client.codecs import decode_body
from nsqx.client.texts import Texts
from nsqx.integrations.faststream.message import NsqMessage, decode, parse

__all__ = [
    "NsqSubscriber",
    "NsqSubscriberConfig",
    "NsqSubscriberSpecification",
    "NsqSubscriberSpecificationConfig",
]

MESSAGES_PER_WORKER = 2  # as for the handlers of Nsq


@dataclass(kw_only=True)
class NsqSubscriberConfig(SubscriberUsecaseConfig):
    topic: str
    channel: str
    max_workers: int = 1
    options: dict[str, Any] = field(default_factory=dict)  # of the Consumer

    def __post_init__(self) -> None:
        self.parser, self.decoder = parse, decode

    @property
    def ack_policy(self) -> AckPolicy:
        for policy in (self._ack_policy, self._outer_config.ack_policy):
            if policy is not EMPTY:
                return policy
        return AckPolicy.NACK_ON_ERROR


@dataclass(kw_only=True)
class NsqSubscriberSpecificationConfig(SubscriberSpecificationConfig):
    topic: str
    channel: str


class NsqSubscriberSpecification(SubscriberSpecification[Any, NsqSubscriberSpecificationConfig]):
    """What AsyncAPI says of a subscriber."""

    @property
    def topic(self) -> str:
        return f"{self._outer_config.prefix}{self.config.topic}"

    @property
    def channel_labels(self) -> list[str]:
        return [f"{self.topic}:{self.config.channel}"]

    def get_schema(self) -> dict[str, SubscriberSpec]:
        payload = resolve_payloads(self.get_payloads())
        message = MessageSpec(title=f"{self.name}:Message", payload=payload)
        return {
            self.name: SubscriberSpec(
                address=self.topic,
                description=self.description,
                operation=Operation(message=message, bindings=None),
                bindings=None,
            )
        }


class NsqSubscriber(SubscriberUsecase[Message]):
    """
    Calls handlers; or, without any, is iterated over.

    An answer that the policy or the handler gave stands. With ``AckPolicy.MANUAL``, a message that
    its handler has not answered comes again.
    """

    specification: Any  # an NsqSubscriberSpecification, which FastStream's type cannot say

    def __init__(
        self,
        config: NsqSubscriberConfig,
        specification: Any,
        calls: CallsCollection[Message],
    ) -> None:
        super().__init__(config, specification, calls)
        self._decoder = self._decode
        self.channel = config.channel
        self._max_workers = config.max_workers
        in_flight = MESSAGES_PER_WORKER * config.max_workers
        self._options = {"max_in_flight": in_flight, **config.options}
        self._consumer: Consumer | None = None
        self._running: asyncio.Task[None] | None = None

    @property
    def topic(self) -> str:
        return str(self.specification.topic)

    async def start(self) -> None:
        """Connect, and take messages if there is a handler."""
        await super().start()
        outer: Any = self._outer_config
        consumer: Consumer = outer.nsq.consume(self.topic, self.channel, **self._options)
        self._consumer = await consumer.__aenter__()
        if self.calls:
            running = consumer.run(self._handle, concurrency=self._max_workers)
            self._running = asyncio.create_task(running, name=f"nsqx subscriber {self.topic}")
        self._post_start()

    async def stop(self) -> None:
        """Take no more, wait for handlers that run, and disconnect."""
        # Not before: a subscriber that does not run drops messages it has taken.
        if self._consumer is not None:
            await self._consumer.close(self._outer_config.graceful_timeout)
        await super().stop()
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait((self._running,))
        self._consumer = self._running = None

    async def _decode(self, message: StreamMessage[Message]) -> Any:
        """Return what the body holds: text or bytes if all handlers ask for that, else JSON."""
        kinds = {kind for call in self.calls for kind in _body_kinds(call)}
        kind = kinds.pop() if len(kinds) == 1 else None
        texts = Texts.of(kind)
        if texts is None or texts.rest is not None or not isinstance(message.body, bytes):
            return await decode(message)
        return decode_body(message.body, kind, JSON)

    async def _handle(self, message: Message) -> None:
        await self.consume(message)  # raises nothing; the policy has answered
        if message.is_open:
            message.requeue(None if self.running else 0, backoff=self.running)

    # Without handlers

    async def get_one(self, *, timeout: float = 5.0) -> NsqMessage | None:  # noqa: ASYNC109 - FastStream's
        """Return the next message, to be answered; None if none comes in time."""
        try:
            async with asyncio.timeout(timeout):
                return await self._next()
        except (TimeoutError, StopAsyncIteration):
            return None

    async def __aiter__(self) -> AsyncIterator[NsqMessage]:
        while True:
            try:
                message = await self._next()
            except StopAsyncIteration:
                return
            yield message

    async def _next(self) -> NsqMessage:
        assert not self.calls, "a subscriber with handlers is not iterated over"
        assert self._consumer is not None, "the subscriber is not started"
        raw = await anext(self._consumer)
        context = self._outer_config.context
        parser, decoder = self._get_parser_and_decoder()
        middlewares = (make(raw, context=context) for make in self._broker_middlewares)
        message: Any = await process_msg(
            msg=raw, middlewares=middlewares, parser=parser, decoder=decoder
        )
        made: NsqMessage = message
        return made

    # For FastStream

    def _make_response_publisher(self, message: StreamMessage[Message]) -> Iterable[Any]:
        return ()  # nobody can ask for a reply

    def get_log_context(self, message: StreamMessage[Message] | None) -> dict[str, str]:
        """Return what log lines tell besides."""
        return {
            "topic": self.topic,
            "channel": self.channel,
            "message_id": getattr(message, "message_id", ""),
        }


def _body_kinds(call: Any) -> list[Any]:
    """Return the annotation of the parameter that gets the body; of each, if they share it."""
    if call.dependant is None:
        return []
    return [parameter.field_type for parameter in call.dependant.flat_params]
