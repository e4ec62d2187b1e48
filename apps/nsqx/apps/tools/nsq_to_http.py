"""``nsq_to_http``: sends messages to web servers, and finishes those that were accepted."""

import asyncio
import itertools
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nsqx.apps.terminal import printable
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
from nsqx.apps.tools.host_pool import make_pool, prompt
from nsqx.apps.tools.standard_log import say
from nsqx.apps.tools.timings import Timings
from nsqx.apps.tools.url_template import UrlTemplate, is_http_url
from nsqx.client.consumer import Consumer
from nsqx.client.message import Message
from nsqx.protocol.errors import NsqxError, StartupError
from nsqx.protocol.version import NSQ_VERSION
from nsqx.runtime.durations import SECOND_NS
from nsqx.runtime.options import flags
from nsqx.runtime.options.flags import DURATION, Source, flag
from nsqx.runtime.process.startup import exit_with_failure

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

__all__ = ["ToHttpOptions", "main"]

TOOL = "nsq_to_http"
LATE_SECONDS = 0.5  # an address that answers nothing for so long is passed over
ONE_BY_POOL = ("round-robin", "hostpool", "epsilon-greedy")  # another mode: every address


@dataclass
class ToHttpOptions(ConsumerToolOptions):
    """Options of ``nsq_to_http``."""

    topic: str = flag("", help="topic")
    channel: str = flag(TOOL, help="channel")
    n: int = flag(100, help="how many requests may be under way at a time")
    posts: list[str] = flag(
        [], name="post", help="`URL` to POST messages to (may be given several times)"
    )
    gets: list[str] = flag(
        [],
        name="get",
        help="`URL` to GET, with %s where the message goes (may be given several times)",
    )
    mode: str = flag(
        "hostpool",
        help="which URL gets a message: round-robin, hostpool, epsilon-greedy; other words: all",
    )
    sample: float = flag(1.0, help="share of the messages to send, from 0.0 to 1.0")
    content_type: str = flag("application/octet-stream", help="Content-Type of a POST")
    headers: list[str] = flag(
        [], name="header", help="header of every request, as `name: value` (may be repeated)"
    )
    connect_timeout: int = flag(
        "2s",
        kind=DURATION,
        name="http-client-connect-timeout",
        help="how long connecting may take",
    )
    request_timeout: int = flag(
        "20s",
        kind=DURATION,
        name="http-client-request-timeout",
        help="how long a request may take",
    )
    status_every: int = flag(250, help="log timings after so many requests; 0: never")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``nsq_to_http`` and return its exit code."""
    options = flags.parse(ToHttpOptions, sys.argv[1:] if argv is None else argv, TOOL, environ={})
    try:
        _check(options)
        consumer = make_consumer(options, options.topic, options.channel, TOOL)
    except StartupError as exc:
        raise exit_with_failure(exc, "") from None
    start_log(options.consumer_opts)
    return run(_send_all(options, consumer))


def _check(options: ToHttpOptions) -> None:
    for header in options.headers:
        check(":" in header, "--header value format should be 'key=value'")
    check(options.topic and options.channel, "--topic and --channel are required")
    if options.source("content_type") is Source.FLAG:
        check(options.posts, "--content-type only used with --post")
        check(options.content_type, "--content-type requires a value when used")
    check_sources(options)
    check(options.gets or options.posts, "--get or --post required")
    check(not (options.gets and options.posts), "use --get or --post not both")
    urls = [*options.posts, *(_template(url).fill(b"") for url in options.gets)]
    for url in urls:
        check(is_http_url(url), f"{printable(url)} is no http or https URL")
    for name in ("http-client-connect-timeout", "http-client-request-timeout"):
        duration_ns = getattr(options, name.removeprefix("http-client-").replace("-", "_"))
        check(duration_ns > 0, f"--{name} should be positive")
    is_share = 0.0 <= options.sample <= 1.0
    check(is_share, "ERROR: --sample must be between 0.0 and 1.0")


def _template(url: str) -> UrlTemplate:
    try:
        return UrlTemplate(url)
    except ValueError as exc:
        raise StartupError(str(exc), bare=True) from exc


async def _send_all(options: ToHttpOptions, consumer: Consumer) -> None:
    # Imported here, so that a wrong command line is told at once.
    import aiohttp

    timeout = aiohttp.ClientTimeout(
        total=options.request_timeout / SECOND_NS,
        sock_connect=options.connect_timeout / SECOND_NS,
    )
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
        sender = Sender(session, options)
        handle = Dispatcher(sender, options, asyncio.get_running_loop().time).handle

        async def work(consumer: Consumer) -> None:
            await consumer.run(handle, concurrency=max(options.n, 1))

        await consume([consumer], work, stop_event())


class SendFailedError(NsqxError):
    """A server did not take a message."""


class Sender:
    """Makes the requests."""

    def __init__(self, session: "ClientSession", options: ToHttpOptions) -> None:
        self.urls = options.gets or options.posts
        self._session = session
        self._templates = [UrlTemplate(url) for url in options.gets]
        self._headers = {"User-Agent": f"{TOOL} v{NSQ_VERSION}"}
        if options.posts:
            self._headers["Content-Type"] = options.content_type
        own = {name.lower(): name for name in self._headers}
        for header in options.headers:
            name, _, value = header.partition(":")
            self._headers.pop(own.get(name.strip().lower(), ""), None)
            self._headers[name.strip()] = value.strip()

    async def send(self, index: int, body: bytes) -> None:
        """
        Send a message to the address of this number.

        Raises:
            SendFailedError: it was not accepted: GET must be answered with 200, POST with 2xx.
        """
        import aiohttp

        try:
            status = await (self._get(index, body) if self._templates else self._post(index, body))
        except (aiohttp.ClientError, TimeoutError, ValueError) as exc:
            raise SendFailedError(f"{self.urls[index]}: {str(exc) or type(exc).__name__}") from exc
        is_success = status == 200 if self._templates else 200 <= status < 300
        if not is_success:
            raise SendFailedError(f"{self.urls[index]}: status {status}")

    async def _get(self, index: int, body: bytes) -> int:
        from yarl import URL

        url = URL(self._templates[index].fill(body), encoded=True)
        async with self._session.get(url, headers=self._headers) as response:
            return await _status(response)

    async def _post(self, index: int, body: bytes) -> int:
        url = self.urls[index]
        async with self._session.post(url, data=body, headers=self._headers) as response:
            return await _status(response)


async def _status(response: "ClientResponse") -> int:
    """Read to the end, so that the connection can be used again; what it says does not matter."""
    async for _ in response.content.iter_chunked(1 << 16):
        pass
    return response.status


class Dispatcher:
    """Decides which address a message goes to, and keeps the timings."""

    def __init__(self, sender: Sender, options: ToHttpOptions, clock: Callable[[], float]) -> None:
        urls = sender.urls
        self._sender = sender
        self._sample = options.sample
        self._clock = clock
        self._sends_to_all = options.mode not in ONE_BY_POOL
        self._pool = make_pool(options.mode, len(urls), first=1)
        # When the requests under way began, the oldest first, and when the last one ended.
        self._waiting: list[dict[int, float]] = [{} for _ in urls]
        self._answered = [0.0] * len(urls)
        self._numbers = itertools.count()
        self._all = Timings(options.status_every, "[aggregate]:")
        self._each = [
            Timings(options.status_every if len(urls) > 1 else 0, f"[{url}]:") for url in urls
        ]

    async def handle(self, message: Message) -> None:
        """
        Send a message to whom it may concern.

        Raises:
            SendFailedError: the message is to be requeued.
        """
        if self._sample < 1.0 and random.random() >= self._sample:
            return
        began = self._clock()
        if self._sends_to_all:
            for index in range(len(self._sender.urls)):
                await self._send(index, message.body)
        else:
            await self._send(prompt(self._pool.choose(began), self._late), message.body)
        _log(self._all.add(self._clock() - began))

    def _late(self) -> list[bool]:
        """Say of each address whether it has left requests without an answer for long."""
        now = self._clock()
        oldest = [next(iter(waiting.values()), now) for waiting in self._waiting]
        return [
            now - max(began, answered) > LATE_SECONDS
            for began, answered in zip(oldest, self._answered, strict=True)
        ]

    async def _send(self, index: int, body: bytes) -> None:
        began, succeeded = self._clock(), False
        waiting = self._waiting[index]
        number = next(self._numbers)
        waiting[number] = began
        try:
            await self._sender.send(index, body)
            succeeded = True
        finally:
            del waiting[number]
            now = self._clock()
            self._answered[index] = now
            self._pool.report(index, succeeded=succeeded, seconds=now - began, now=now)
        _log(self._each[index].add(now - began))


def _log(line: str | None) -> None:
    if line is not None:
        say(line)
