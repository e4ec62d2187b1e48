"""``nsqx bench``: how fast a broker takes and gives messages, measured from here."""

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from urllib.parse import urlencode

import click

from nsqx.apps.complaints import Complaints
from nsqx.client.addresses import parse_address
from nsqx.client.consumer import Consumer
from nsqx.client.errors import NsqError
from nsqx.client.producer import Producer
from nsqx.cluster.http import DaemonError, DaemonHttp
from nsqx.protocol.defaults import NSQD_TCP_PORT
from nsqx.runtime.process.run import new_event_loop

__all__ = ["Result", "bench"]

CHANNEL = "bench"
SILENCE_SECONDS = 10.0  # without any message: some were lost
INTERRUPTED = 130

Advance = Callable[[int], None]

EPILOG = """\b
Examples:
  nsqx bench                                   100,000 messages through 127.0.0.1:4150
  nsqx bench --nsqd 10.0.0.5:4150 --size 1000
  nsqx bench --json | jq .consume.per_second

Publishes to a topic of its own in batches (MPUB), then consumes what it has published; one process
does both, one after the other, so it measures the broker as one client sees it. The topic is
deleted at the end, if the broker's HTTP address is one port above its TCP address or --nsqd-http
says where it is. For thorough measurements see benchmarks/.

\b
Exit codes: 0 all messages came back, 1 something failed or was lost, 2 wrong usage,
130 interrupted.
"""


@dataclass(slots=True)
class Phase:
    """One half of the measurement."""

    messages: int = 0
    seconds: float = 0.0
    per_second: float = 0.0
    mebibytes_per_second: float = 0.0
    cpu_seconds: float = 0.0  # of this process

    def end(self, messages: int, size: int, seconds: float, cpu_seconds: float) -> None:
        """Fill in what was measured."""
        self.messages = messages
        self.seconds = round(seconds, 6)
        self.cpu_seconds = round(cpu_seconds, 6)
        if seconds > 0:
            self.per_second = round(messages / seconds, 1)
            self.mebibytes_per_second = round(messages * size / seconds / (1 << 20), 3)

    def text(self, what: str) -> str:
        speed = f"{self.per_second:,.0f}/s, {self.mebibytes_per_second:,.1f} MiB/s"
        return f"{what:<10}{self.messages:>10,} messages in {self.seconds:6.2f} s   {speed}"


@dataclass(slots=True)
class Result:
    """What came out."""

    nsqd: str
    topic: str
    size: int
    publish: Phase
    consume: Phase
    topic_deleted: bool = False
    error: str | None = None


@click.command(epilog=EPILOG)
@click.option(
    "--nsqd",
    default=f"127.0.0.1:{NSQD_TCP_PORT}",
    show_default=True,
    metavar="HOST:PORT",
    help="TCP address of the nsqd.",
)
@click.option(
    "--nsqd-http", metavar="HOST:PORT", help="Its HTTP address.  [default: one port above]"
)
@click.option(
    "--messages", default=100_000, show_default=True, type=click.IntRange(min=1), help="How many."
)
@click.option(
    "--size", default=100, show_default=True, type=click.IntRange(min=1), help="Bytes of each."
)
@click.option(
    "--max-in-flight",
    default=2500,
    show_default=True,
    type=click.IntRange(min=1),
    help="Messages to hold at a time.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as a JSON object.")
def bench(
    nsqd: str,
    nsqd_http: str | None,
    messages: int,
    size: int,
    max_in_flight: int,
    as_json: bool,
) -> None:
    """Publish messages to an nsqd and consume them, and tell how fast that went."""
    # Never one that the user names: it is deleted at the end.
    topic = f"nsqx_bench_{random.randrange(1_000_000):06}"
    try:
        address = parse_address(nsqd)
    except ValueError as exc:
        raise click.BadParameter(str(exc)) from None
    http = nsqd_http or str(address._replace(port=address.port + 1))
    result = Result(str(address), topic, size, Phase(), Phase())
    complaints = Complaints("bench")
    code = _run(result, messages, max_in_flight, http)
    if result.error is not None:
        complaints.fail(result.error)
    if as_json:
        click.echo(json.dumps(asdict(result)))
    elif result.error is None:
        click.echo(result.publish.text("published"))
        click.echo(result.consume.text("consumed"))
    if not result.topic_deleted and result.publish.messages:
        click.echo(f"nsqx bench: the topic {topic} is still there", err=True)
    sys.exit(code)


def _run(result: Result, messages: int, max_in_flight: int, http: str) -> int:
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            runner.run(_measure(result, messages, max_in_flight, http))
    except (NsqError, OSError) as exc:
        result.error = str(exc)
    except KeyboardInterrupt:
        result.error = "interrupted"
        return INTERRUPTED
    return 0 if result.error is None else 1


async def _measure(result: Result, messages: int, max_in_flight: int, http: str) -> None:
    try:
        async with Producer(result.nsqd) as producer:
            await producer.ready()
            await _publish(producer, result, messages)
        await _consume(result, messages, max_in_flight)
    finally:
        result.topic_deleted = await _delete_topic(http, result.topic)


async def _publish(producer: Producer, result: Result, messages: int) -> None:
    body = os.urandom(result.size)
    with progress("publishing", messages) as advance, timed(result.publish, result.size) as done:
        bodies = counted((body for _ in range(messages)), advance)
        done(await producer.publish_many(result.topic, bodies))


async def _consume(result: Result, messages: int, max_in_flight: int) -> None:
    received = 0
    with progress("consuming", messages) as advance, timed(result.consume, result.size) as done:
        async with Consumer(
            result.topic, CHANNEL, nsqd=result.nsqd, max_in_flight=max_in_flight
        ) as consumer:
            batches = consumer.batches(max_in_flight, wait=0)
            while received < messages:
                try:
                    async with asyncio.timeout(SILENCE_SECONDS):
                        batch = await anext(batches)
                except TimeoutError:
                    result.error = f"{messages - received} of {messages} messages did not come"
                    break
                for message in batch:
                    message.finish()
                received += len(batch)
                done(received)
                advance(len(batch))


async def _delete_topic(http: str, topic: str) -> bool:
    try:
        async with DaemonHttp() as session:
            await session.post(http, f"/topic/delete?{urlencode({'topic': topic})}")
    except DaemonError:
        return False
    return True


@contextmanager
def timed(phase: Phase, size: int) -> Iterator[Callable[[int], None]]:
    """Measure from here to the last call of what is yielded, with the messages done by then."""
    began, cpu_began = time.monotonic(), time.process_time()
    yield lambda messages: phase.end(
        messages, size, time.monotonic() - began, time.process_time() - cpu_began
    )


def counted(bodies: Iterator[bytes], advance: Advance) -> Iterator[bytes]:
    """Pass on, and tell about every thousand."""
    for number, body in enumerate(bodies, 1):
        yield body
        if number % 1000 == 0:
            advance(1000)


@contextmanager
def progress(title: str, total: int) -> Iterator[Advance]:
    """Show a bar while the block runs, if a person is watching."""
    if not sys.stderr.isatty():
        yield lambda _count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)
