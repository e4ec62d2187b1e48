"""
``to_nsq``: publishes what comes on stdin, cut into messages, to every nsqd that it is given.

Messages go out one by one (PUB) and in order, many before the first answer has come. The first
that is refused ends it, and nsqd reads nothing behind that one; so what was published is always
a beginning of the input.
"""

import asyncio
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from nsqx.apps.lines import LineSplitter, LineTooLongError, read_chunk
from nsqx.apps.tools.consumer_options import CONSUMER_OPTION, Given
from nsqx.apps.tools.consuming import check, make_producers, run, start_log, stop_event
from nsqx.apps.tools.standard_log import say
from nsqx.apps.tools.throttle import Throttle
from nsqx.client.producer import Producer
from nsqx.protocol.errors import StartupError
from nsqx.protocol.names import is_valid_name
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import Options, flag
from nsqx.runtime.options.go_values import go_quote
from nsqx.runtime.process.startup import exit_with_failure

__all__ = ["ToNsqOptions", "main"]

TOOL = "to_nsq"
# Published together; small enough to be on the wire as a whole before the first answer.
GROUP_MESSAGES_MAX = 500
GROUP_BYTES_MAX = 1 << 20


@dataclass
class ToNsqOptions(Options):
    """Options of ``to_nsq``. There is no ``--version``, as in NSQ."""

    topic: str = flag("", help="topic to publish to")
    delimiter: str = flag("\n", help="byte that ends a message")
    nsqd_tcp_addresses: list[str] = flag(
        [],
        name="nsqd-tcp-address",
        help="`host:port` of an nsqd (may be given several times: each gets every message)",
    )
    rate: int = flag(0, help="messages per second at most; 0: as fast as it goes")
    producer_opts: list[Given] = flag(
        [],
        kind=CONSUMER_OPTION,
        name="producer-opt",
        help="option of the client, as `name,value` (may be given several times)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``to_nsq`` and return its exit code."""
    options = flags.parse(ToNsqOptions, sys.argv[1:] if argv is None else argv, TOOL, environ={})
    try:
        check(options.topic, "--topic required")
        check(options.rate >= 0, "--rate must not be below 0")
        check(len(os.fsencode(options.delimiter)) == 1, "--delimiter must be a single byte")
        check(options.nsqd_tcp_addresses, "--nsqd-tcp-address required")
        producers = make_producers(options.nsqd_tcp_addresses, options.producer_opts, TOOL)
    except StartupError as exc:
        raise exit_with_failure(exc, "") from None
    start_log(options.producer_opts)
    return run(_publish_all(options, producers))


async def _publish_all(options: ToNsqOptions, producers: dict[str, Producer]) -> None:
    stop = stop_event()
    splitter = LineSplitter(os.fsencode(options.delimiter))
    async with AsyncExitStack() as stack:
        for producer in producers.values():
            await stack.enter_async_context(producer)
        publisher = Publisher(options, list(producers.values()))
        while (chunk := await _read(stop)) and not stop.is_set():
            await publisher.publish(_pieces(splitter, chunk), stop)
        if not stop.is_set():
            await publisher.publish(splitter.receive_end(), stop)


async def _read(stop: asyncio.Event) -> bytes:
    """Return the next input; nothing at its end and when a signal came."""
    reading = asyncio.ensure_future(read_chunk(sys.stdin.fileno()))
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait((reading, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not reading.done():
        reading.cancel()
        return b""
    return reading.result()


def _pieces(splitter: LineSplitter, chunk: bytes) -> list[bytes]:
    try:
        return splitter.receive(chunk)
    except LineTooLongError as exc:
        raise StartupError(str(exc), bare=True) from exc


class Publisher:
    """Publishes to all producers at once, no faster than is allowed."""

    def __init__(self, options: ToNsqOptions, producers: Sequence[Producer]) -> None:
        self._topic = options.topic
        self._producers = producers
        self._throttle: Throttle | None = None
        if options.rate > 0:
            say(f"Throttling messages rate to max:{options.rate}/second")
            self._throttle = Throttle(options.rate, asyncio.get_running_loop().time())

    async def publish(self, bodies: Sequence[bytes], stop: asyncio.Event) -> None:
        """
        Publish until all is confirmed by all, or ``stop`` is set.

        Raises:
            NsqError: the first failure, in the order of the messages.
        """
        if bodies:
            await self._make_sure()
        for group in groups(bodies) if self._throttle is None else ([body] for body in bodies):
            if self._throttle is not None:
                await _pause(self._throttle.take(asyncio.get_running_loop().time()), stop)
            if stop.is_set():
                return
            await asyncio.gather(*(self._publish(producer, group) for producer in self._producers))

    async def _make_sure(self) -> None:
        """Fail at once where waiting would not help. Called late: no input, no failure."""
        # In nsqd's words: our client would not even send such a name.
        topic = self._topic
        quoted = go_quote(topic)
        check(is_valid_name(topic), f"E_BAD_TOPIC PUB topic name {quoted} is not valid")
        for producer in self._producers:
            await producer.ready()

    async def _publish(self, producer: Producer, group: list[bytes]) -> None:
        outcomes = await asyncio.gather(
            *(producer.publish(self._topic, body) for body in group), return_exceptions=True
        )
        for outcome in outcomes:
            if outcome is not None:
                raise outcome


async def _pause(seconds: float, stop: asyncio.Event) -> None:
    if seconds > 0:
        waiting = asyncio.ensure_future(stop.wait())
        await asyncio.wait((waiting,), timeout=seconds)
        waiting.cancel()


def groups(bodies: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Cut into lists of bounded length and size."""
    group: list[bytes] = []
    size = 0
    for body in bodies:
        group.append(body)
        size += len(body)
        if len(group) == GROUP_MESSAGES_MAX or size >= GROUP_BYTES_MAX:
            yield group
            group, size = [], 0
    if group:
        yield group
