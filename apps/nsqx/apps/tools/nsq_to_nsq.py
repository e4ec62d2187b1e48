"""``nsq_to_nsq``: publishes the messages of topics to other nsqds, filtered if that is wanted."""

import asyncio
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from nsqx.apps.tools.consumer_options import CONSUMER_OPTION, Given
from nsqx.apps.tools.consuming import (
    ConsumerToolOptions,
    check,
    check_sources,
    consume,
    make_consumer,
    make_producers,
    run,
    start_log,
    stop_event,
)
from nsqx.apps.tools.host_pool import make_pool, prompt
from nsqx.apps.tools.json_filter import Dropped, JsonFilter
from nsqx.apps.tools.standard_log import say
from nsqx.apps.tools.timings import Timings
from nsqx.client.consumer import Consumer
from nsqx.client.message import Message
from nsqx.client.producer import Producer
from nsqx.protocol.errors import StartupError
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import flag
from nsqx.runtime.process.startup import exit_with_failure

__all__ = ["ToNsqdOptions", "main"]

TOOL = "nsq_to_nsq"


@dataclass
class ToNsqdOptions(ConsumerToolOptions):
    """Options of ``nsq_to_nsq``."""

    topics: list[str] = flag([], name="topic", help="topic (may be given several times)")
    channel: str = flag(TOOL, help="channel")
    destination_topic: str = flag("", help="topic to publish to, if it is not that of the message")
    destination_addresses: list[str] = flag(
        [],
        name="destination-nsqd-tcp-address",
        help="`host:port` of an nsqd to publish to (may be given several times)",
    )
    mode: str = flag(
        "hostpool", help="which nsqd gets a message: round-robin, hostpool, epsilon-greedy"
    )
    status_every: int = flag(250, help="log timings after so many messages; 0: never")
    require_json_field: str = flag("", help="only messages that are JSON with this field")
    require_json_value: str = flag("", help="only messages whose field has this value")
    whitelist_json_fields: list[str] = flag(
        [],
        name="whitelist-json-field",
        help="keep only this field of the JSON (may be given several times)",
    )
    producer_opts: list[Given] = flag(
        [],
        kind=CONSUMER_OPTION,
        name="producer-opt",
        help="option of the publishing client, as `name,value` (may be given several times)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``nsq_to_nsq`` and return its exit code."""
    options = flags.parse(ToNsqdOptions, sys.argv[1:] if argv is None else argv, TOOL, environ={})
    try:
        _check(options)
        consumers = [
            make_consumer(options, topic, options.channel, TOOL)
            for topic in dict.fromkeys(options.topics)
        ]
        producers = make_producers(options.destination_addresses, options.producer_opts, TOOL)
    except StartupError as exc:
        raise exit_with_failure(exc, "") from None
    start_log(options.consumer_opts)
    return run(_copy_all(options, consumers, producers))


def _check(options: ToNsqdOptions) -> None:
    check(options.topics and options.channel, "--topic and --channel are required")
    check(all(map(is_valid_name, options.topics)), "--topic is invalid")
    destination = options.destination_topic
    check(not destination or is_valid_name(destination), "--destination-topic is invalid")
    check(is_valid_name(options.channel), "--channel is invalid")
    check_sources(options)
    check(options.destination_addresses, "--destination-nsqd-tcp-address required")


async def _copy_all(
    options: ToNsqdOptions, consumers: Sequence[Consumer], producers: dict[str, Producer]
) -> None:
    async with AsyncExitStack() as stack:
        for producer in producers.values():
            await stack.enter_async_context(producer)
        copier = Copier(options, producers)

        async def copy(consumer: Consumer) -> None:
            topic = options.destination_topic or consumer.topic

            async def handle(message: Message) -> None:
                await copier.copy(topic, message.body)

            # A task for each message in flight: publishes wait for their answers side by side.
            await consumer.run(handle, concurrency=max(options.max_in_flight, 1))

        await consume(consumers, copy, stop_event())


class Copier:
    """Filters messages and publishes them."""

    def __init__(self, options: ToNsqdOptions, producers: dict[str, Producer]) -> None:
        every, addresses = options.status_every, list(producers)
        self._producers = list(producers.values())
        self._filter = JsonFilter(
            options.require_json_field, options.require_json_value, options.whitelist_json_fields
        )
        self._pool = make_pool(options.mode, len(addresses))
        self._all = Timings(every, "[aggregate]:")
        self._each = [
            Timings(every if len(addresses) > 1 else 0, f"[{address}]:") for address in addresses
        ]
        self._clock = asyncio.get_running_loop().time

    async def copy(self, topic: str, body: bytes) -> None:
        """
        Publish a message, unless the filter drops it.

        Raises:
            NsqError: it was not confirmed.
            MissingFieldError: it could not be judged.
        """
        try:
            body = self._filter.apply(body)
        except Dropped as exc:
            if str(exc):
                say(str(exc))
            return
        began = self._clock()
        index = prompt(self._pool.choose(began), self._is_late)
        succeeded = False
        try:
            await self._publish(self._producers[index], topic, body)
            succeeded = True
        finally:
            now = self._clock()
            self._pool.report(index, succeeded=succeeded, seconds=now - began, now=now)
        for timings in (self._each[index], self._all):
            line = timings.add(now - began)
            if line is not None:
                say(line)

    def _is_late(self) -> list[bool]:
        return [producer.is_late for producer in self._producers]

    async def _publish(self, producer: Producer, topic: str, body: bytes) -> None:
        await producer.ready()  # fails at once if it cannot be reached: another may
        await producer.publish(topic, body)
