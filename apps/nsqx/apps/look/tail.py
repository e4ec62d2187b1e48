"""``nsqx tail``: prints the messages of topics, each on a line."""

import asyncio
import base64
import json
import random
import signal
import sys
from collections.abc import Iterable
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import click

from nsqx.apps.complaints import Complaints
from nsqx.apps.look.lookout import Lookout
from nsqx.apps.look.printer import Enough, Format, Printer, format_body, format_with_topic
from nsqx.apps.security_options import Security, security_options
from nsqx.apps.sources import LOOKUPD, Sources, discovery_options
from nsqx.client.consumer import Consumer
from nsqx.client.errors import NsqError
from nsqx.client.message import Message
from nsqx.runtime.discovery import Finder
from nsqx.runtime.process import logs
from nsqx.runtime.process.levels import Level

__all__ = ["tail"]

MAX_IN_FLIGHT = 200
DRAIN_SECONDS = 1.0  # what is not printed by then will be delivered again

EPILOG = f"""\b
Examples:
  nsqx tail greetings                          of the cluster of nsqx up
  nsqx tail orders refunds --print-topic       two topics
  nsqx tail orders -n 10 --json | jq .         ten messages, with all there is to know
  nsqx tail orders --nsqd 10.0.0.5:4150        of one nsqd only
  nsqx tail orders --discover                  of the cluster on this network

Without --lookupd, --nsqd and --discover, the lookupd at {LOOKUPD} is asked. Without --channel, a
channel of our own gets a copy of every message from now on, and goes when we do; of what comes
faster than we print nsqd keeps --mem-queue-size messages and drops the rest, which is said. A
channel that is not #ephemeral keeps all; from one that others consume, we take messages away.

\b
Exit codes: 0 after -n messages or a signal, 1 if an nsqd cannot be reached or nobody reads
what we print, 2 wrong usage.
"""


@click.command(epilog=EPILOG)
@click.argument("topics", nargs=-1, required=True, metavar="TOPIC...")
@click.option("--channel", help="Channel to consume.  [default: tailNNNNNN#ephemeral]")
@click.option(
    "--lookupd",
    "lookupds",
    multiple=True,
    metavar="HOST:PORT",
    help="HTTP address of a lookupd; may be given several times.",
)
@click.option(
    "--nsqd",
    "nsqds",
    multiple=True,
    metavar="HOST:PORT",
    help="TCP address of an nsqd; may be given several times.",
)
@discovery_options
@security_options
@click.option("-n", "--n", "count", type=click.IntRange(min=1), help="End after N messages in all.")
@click.option("--print-topic", is_flag=True, help="Begin each line with its topic.")
@click.option("--json", "as_json", is_flag=True, help="Print each message as a JSON object.")
@click.option(
    "--max-in-flight",
    default=MAX_IN_FLIGHT,
    show_default=True,
    type=click.IntRange(min=1),
    help="Messages to hold at a time, for each topic.",
)
def tail(
    topics: tuple[str, ...],
    channel: str | None,
    lookupds: tuple[str, ...],
    nsqds: tuple[str, ...],
    discover: bool,
    cluster: str,
    security: Security,
    count: int | None,
    print_topic: bool,
    as_json: bool,
    max_in_flight: int,
) -> None:
    """Print the messages of each TOPIC as they come, and finish them."""
    if not lookupds and not nsqds and not discover:
        lookupds = (LOOKUPD,)
    try:
        finder = Finder(cluster) if discover else None
        settings = security.settings("nsqx-tail")
        own = channel or f"tail{random.randrange(1_000_000):06}#ephemeral"
        consumers = [
            Consumer(
                topic,
                own,
                lookupd=lookupds,
                nsqd=nsqds,
                discover=finder,
                max_in_flight=min(max_in_flight, count or max_in_flight),
                settings=settings,
                drain_timeout=DRAIN_SECONDS,
            )
            for topic in dict.fromkeys(topics)
        ]
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None
    printer = Printer(_choose_format(as_json, print_topic), count)
    complaints = Complaints("tail")
    sources = Sources(lookupds, (), finder) if lookupds or finder else None
    named = [each.topic for each in consumers]
    lookout = Lookout(sources, named, own, security, complaints, partial(_nodes_of, consumers))
    sys.exit(_run(consumers, printer, complaints, finder, lookout))


def _nodes_of(consumers: Iterable[Consumer]) -> list[str]:
    return [address for consumer in consumers for address in consumer.http_addresses]


def _choose_format(as_json: bool, print_topic: bool) -> Format:
    if as_json:
        return format_json
    return format_with_topic if print_topic else format_body


def format_json(topic: str, message: Message) -> bytes:
    """One line of JSON; a body that is not UTF-8 comes as ``body_base64``."""
    fields: dict[str, Any] = {
        "topic": topic,
        "id": message.id.decode(errors="replace"),
        "timestamp_ns": message.timestamp_ns,
        "attempts": message.attempts,
    }
    try:
        fields["body"] = message.body.decode()
    except UnicodeDecodeError:
        fields["body_base64"] = base64.b64encode(message.body).decode()
    return json.dumps(fields).encode() + b"\n"


def _run(
    consumers: Iterable[Consumer],
    printer: Printer,
    complaints: Complaints,
    finder: Finder | None,
    lookout: Lookout,
) -> int:
    """Print until enough, a signal or a failure; return the exit code."""
    code = 0
    try:
        asyncio.run(_print_all(consumers, printer, finder, lookout))
    except* (Enough, asyncio.CancelledError):
        pass
    except* BrokenPipeError:
        code = 1
    except* (NsqError, OSError) as group:
        code = 1
        for error in group.exceptions:
            complaints.fail(error)
    return code


async def _print_all(
    consumers: Iterable[Consumer], printer: Printer, finder: Finder | None, lookout: Lookout
) -> None:
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(signum, task.cancel)
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as group:
        if finder is not None:
            logs.set_level(Level.WARNING)  # stderr is the user's
            await stack.enter_async_context(finder)
        for consumer in consumers:
            await stack.enter_async_context(consumer)
        await stack.enter_async_context(lookout)  # asks for the last time before they leave
        for consumer in consumers:
            group.create_task(_print_topic(consumer, printer))


async def _print_topic(consumer: Consumer, printer: Printer) -> None:
    await consumer.ready()
    async for batch in consumer.batches(MAX_IN_FLIGHT, wait=0):
        await printer.print(consumer.topic, batch)
