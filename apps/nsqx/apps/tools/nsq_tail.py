"""``nsq_tail``: prints the messages of topics, each on a line."""

import asyncio
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from nsqx.apps.look.printer import Enough, Printer, format_body, format_with_topic
from nsqx.apps.tools.consuming import (
    ConsumerToolOptions,
    check,
    check_sources,
    consume,
    make_consumer,
    run,
    start_log,
    stop_event,
)
from nsqx.client.consumer import Consumer
from nsqx.protocol.errors import StartupError
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import flag
from nsqx.runtime.process.startup import exit_with_failure

__all__ = ["TailOptions", "main"]

TOOL = "nsq_tail"
BATCH_MESSAGES_MAX = 1000
BLOCKED_SECONDS = 3.0  # how long the end may take


def _random_channel() -> str:
    return f"tail{random.randrange(1_000_000):06}#ephemeral"


@dataclass
class TailOptions(ConsumerToolOptions):
    """Options of ``nsq_tail``."""

    topics: list[str] = flag([], name="topic", help="topic (may be given several times)")
    channel: str = flag("", help="channel; tailNNNNNN#ephemeral if it is not given")
    n: int = flag(0, help="end after so many messages of a topic; 0: go on")
    print_topic: bool = flag(False, help="print the topic before each message")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``nsq_tail`` and return its exit code."""
    options = flags.parse(TailOptions, sys.argv[1:] if argv is None else argv, TOOL, environ={})
    try:
        consumers = _consumers(options)
    except StartupError as exc:
        raise exit_with_failure(exc, "") from None
    start_log(options.consumer_opts)
    return run(_tail(options, consumers))


def _consumers(options: TailOptions) -> list[Consumer]:
    check_sources(options)
    check(options.topics, "--topic required")
    limit = options.max_in_flight
    if 0 < options.n < limit:
        limit = options.n
    channel = options.channel or _random_channel()
    topics = dict.fromkeys(options.topics)
    return [make_consumer(options, topic, channel, TOOL, limit) for topic in topics]


async def _tail(options: TailOptions, consumers: Sequence[Consumer]) -> None:
    formatter = format_with_topic if options.print_topic else format_body
    writing = asyncio.Lock()

    async def print_topic(consumer: Consumer) -> None:
        printer = Printer(formatter, options.n or None, writing)
        async for batch in consumer.batches(BATCH_MESSAGES_MAX, wait=0):
            await printer.print(consumer.topic, batch)

    stop = stop_event()
    printing = asyncio.create_task(consume(consumers, print_topic, stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait((printing, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    await asyncio.wait((printing,), timeout=BLOCKED_SECONDS)
    printing.cancel()  # nobody reads what we print; does nothing if it is done
    try:
        await printing
    except* (Enough, asyncio.CancelledError):
        pass
