"""
Publishes messages, and knows for each whether nsqd accepted it.

Theory of operation. A publish is one command (PUB, DPUB, MPUB) and one future. Commands wait in
one queue for an nsqd that is connected, takes bytes, and has room; ``_pump`` hands them out, and
it is called whenever one of these may have changed. nsqd answers in the order sent. A command
whose connection is lost, or that nsqd could not store, goes back into the queue, until its
deadline has passed: so a publish is repeated, perhaps at another nsqd, and a message may be
published twice if the answer to the first try was lost. A sweep of the open publishes every
``SWEEP_SECONDS`` enforces the deadlines, which costs less than a timer for each.

An nsqd that owes an answer for ``slow_after`` gets nothing while another one can take it, and one
that drains gets nothing for ``DRAINING_SECONDS``. One that could not store a message *rests*: the
next ones go to another, or wait. What has no answer after half of its time is sent to a second one.

nsqd closes the connection over a publish that it refuses, which costs all others on it another try.
So what it is known to refuse is refused here. What it may refuse (nobody has said its limits, and
it is beyond NSQ's; or its connections were lost more than once) is *risky*: it goes out on a
connection of its own.
"""

# ruff: noqa: ASYNC109
# The timeouts here are not only waits: they bound the retries, and have an error that tells more.

import asyncio
import contextlib
import logging
import random
import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from functools import partial
from types import TracebackType
from typing import NamedTuple, Self

from nsqx.client import rest
from nsqx.client.addresses import Address, parse_addresses
from nsqx.client.codecs import BYTES, Codec
from nsqx.client.connection import Connection
from nsqx.client.errors import (
    ClientClosed,
    ConnectFailed,
    DeadlineExceeded,
    NsqError,
    PartlyPublished,
    PublishFailed,
    RequestFailed,
)
from nsqx.client.link import Link
from nsqx.client.message import MakeMessage, Message, Origin
from nsqx.client.ranges import check_count, check_seconds, milliseconds
from nsqx.client.rest import Rest
from nsqx.client.session import Limits
from nsqx.client.settings import Settings
from nsqx.protocol import commands, defaults
from nsqx.protocol.messages import SIZE

__all__ = ["Producer", "batches"]

_log = logging.getLogger("nsqx.client")

TIMEOUT_SECONDS = 15.0
CLOSE_TIMEOUT_SECONDS = 5.0
SWEEP_SECONDS = 0.05
OUTSTANDING_BYTES_MAX = 4 * 1024 * 1024  # sent to one nsqd and not confirmed
BATCH_MESSAGES_MAX = 500
BATCH_BYTES_MAX = 512 * 1024  # nsqd takes 5 MiB in one MPUB; memory here is bounded by a window
BATCHES_IN_FLIGHT_MAX = 8
SLOW_SECONDS = 0.5
DRAINING_SECONDS = 5.0  # until an nsqd that is being emptied is tried again
LOSSES_MAX = 1  # of connections under a publish; one that loses more is risky

# Of an nsqd that does not say what it takes, and has not refused anything yet.
USUAL_LIMITS = Limits(
    max_msg_size=defaults.MAX_MSG_SIZE,
    max_body_size=defaults.MAX_BODY_SIZE,
    max_req_timeout_ms=defaults.MAX_REQ_TIMEOUT_MS,
)
_TOO_MUCH = {
    "max_msg_size": re.compile(r"message too big \d+ > (\d+)"),
    "max_body_size": re.compile(r"body too big \d+ > (\d+)"),
    "max_req_timeout_ms": re.compile(r"timeout \d+ out of range 0-(\d+)"),
}

_FORBIDDEN_CODES = frozenset(("E_UNAUTHORIZED", "E_AUTH_FIRST", "E_AUTH_FAILED"))
# nsqd could not store the message. Another nsqd may, and this one may in a moment.
_RETRIED_CODES = frozenset(("E_PUB_FAILED", "E_MPUB_FAILED", "E_DPUB_FAILED"))


class Producer:
    """
    Publishes to one of several nsqds::

        async with Producer("127.0.0.1:4150") as producer:
            await producer.publish("orders", b"hello")

    All nsqds are kept connected. Messages go to the first of them that works, or to all in turn
    with ``spread``. May be used by any number of tasks of one event loop.
    """

    def __init__(
        self,
        nsqd: str | Iterable[str],
        *,
        settings: Settings | None = None,
        timeout: float = TIMEOUT_SECONDS,
        resend: bool = True,
        spread: bool = False,
        outstanding_bytes_max: int = OUTSTANDING_BYTES_MAX,
        slow_after: float = SLOW_SECONDS,
        refusal_delay: float = rest.FIRST_SECONDS,
        refusal_delay_max: float = rest.LONGEST_SECONDS,
        close_timeout: float = CLOSE_TIMEOUT_SECONDS,
    ) -> None:
        """
        Nothing is connected yet: ``async with`` does that.

        Args:
            nsqd: ``host:port`` of one nsqd or of several.
            settings: of the connections.
            timeout: seconds that a publish may take, if its call does not say otherwise.
            resend: whether a publish is sent again when its connection is lost before the answer.
                If not, it raises ConnectionClosed, and no message is published twice.
            spread: whether the nsqds take turns; else the later ones are only used while the
                first ones are unreachable or slow.
            outstanding_bytes_max: how much is sent to one nsqd before it has confirmed.
            slow_after: an nsqd that owes an answer for so many seconds gets nothing while
                another one can take it.
            refusal_delay: an nsqd that could not store a message gets none for so many seconds,
                twice as many after each further refusal, and then one at a time until it does.
            refusal_delay_max: the longest of these delays.
            close_timeout: seconds that `close` waits for what is being published.

        Raises:
            ValueError: an address or a number is wrong, or there is no address.
        """
        self._addresses = parse_addresses(nsqd)
        if not self._addresses:
            raise ValueError("a producer needs the address of an nsqd")
        self._settings = settings or Settings()
        self._timeout = check_seconds("timeout", timeout, above_zero=True)
        self._resend = resend
        self._spread = spread
        self._outstanding_bytes_max = check_count("outstanding_bytes_max", outstanding_bytes_max, 1)
        self._slow_after = check_seconds("slow_after", slow_after)
        check_seconds("refusal_delay", refusal_delay)
        check_seconds("refusal_delay_max", refusal_delay_max)
        self._make_rest = partial(Rest, refusal_delay, refusal_delay_max)
        self._close_timeout = check_seconds("close_timeout", close_timeout)
        self._outlets: list[_Outlet] = []  # in the order preferred
        self._waiting: deque[_Publish] = deque()
        self._open: set[_Publish] = set()  # neither confirmed nor failed
        self._sweep: asyncio.TimerHandle | None = None
        self._batching = 0  # calls of publish_many
        self._idle = asyncio.Event()  # set while nothing is open; only kept up during close
        self._accepts = self._is_over = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def __aenter__(self) -> Self:
        if self._outlets:
            raise ClientClosed("this producer was opened before")
        self._loop = asyncio.get_running_loop()
        self._outlets = [_Outlet(self, address) for address in self._addresses]
        self._accepts = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def ready(self) -> None:
        """
        Wait until every nsqd was tried once.

        Not needed before publishing. Takes ``settings.connect_timeout`` at most.

        Raises:
            ConnectFailed: one of them could not be reached; it is tried on.
        """
        for outlet in self._outlets:
            await outlet.link.first_try()

    async def close(self, timeout: float | None = None) -> None:
        """
        Accept no more, wait for what is being published, and close the connections.

        What is not confirmed within ``timeout`` seconds, or ``close_timeout``, fails with
        ClientClosed; so does all of it at once, if this is cancelled.

        Raises:
            ValueError: ``timeout`` is no number of seconds; nothing is closed.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        try:
            await asyncio.sleep(0)  # tasks that were made to publish have begun then
            self._accepts = False
            await self._drain(self._close_timeout if timeout is None else timeout)
        finally:
            self._accepts, self._is_over = False, True
            for publish in list(self._open):
                publish.settle(ClientClosed("the producer was closed before nsqd had answered"))
            tasks = [task for outlet in self._outlets for task in outlet.stop()]
            try:
                if tasks:
                    await asyncio.wait(tasks)
                await asyncio.gather(*(outlet.close() for outlet in self._outlets))
            finally:
                for outlet in self._outlets:
                    outlet.abort()

    async def _drain(self, seconds: float) -> None:
        if self._open or self._batching:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._idle.wait()

    # Publishing

    async def publish(
        self,
        topic: str,
        body: bytes,
        *,
        defer: float | None = None,
        timeout: float | None = None,
    ) -> None:
        """
        Publish a message, and return when nsqd has accepted it.

        Args:
            topic: created if it does not exist.
            body: not empty, and at most nsqd's ``--max-msg-size``.
            defer: seconds before it is delivered, to the millisecond.
            timeout: seconds this may take in all, instead of the producer's.

        Raises:
            ValueError: topic, body or defer cannot be sent, or timeout is no number of seconds.
            PublishFailed: nsqd refused it.
            DeadlineExceeded: no nsqd has confirmed it in time.
            ConnectionClosed: only without ``resend``.
            ClientClosed: the producer is not open.
        """
        size = None
        if defer is None:
            command = commands.pub(topic, body)
        else:
            defer_ms = milliseconds("delay", defer)
            command = commands.dpub(topic, defer_ms, body)
            size = Size("DPUB", len(body), defer_ms=defer_ms)
        if not self._accepts:
            raise ClientClosed("the producer is not open")
        await self._send(topic, command, size, timeout).wait()

    async def publish_many(
        self, topic: str, bodies: Iterable[bytes], *, timeout: float | None = None
    ) -> int:
        """
        Publish many messages in batches, several of them on the way at a time.

        ``bodies`` is read only as fast as nsqd confirms, so it may be a generator without end.
        Each batch is accepted as a whole or not at all.

        Args:
            topic: created if it does not exist.
            bodies: as for ``publish``.
            timeout: seconds that each batch may take.

        Returns:
            How many messages were published.

        Raises:
            ValueError: the topic or a body cannot be sent; batches before it may be published.
            PartlyPublished: a batch failed; the cause is what ``publish`` would raise.
            ClientClosed: the producer is not open.
        """
        if not self._accepts:
            raise ClientClosed("the producer is not open")
        window = _Window()
        self._batching += 1
        try:
            for batch in batches(bodies):
                command = commands.mpub(topic, batch)
                size = Size("MPUB", max(map(len, batch)), body=len(command) - len(topic) - 6 - 4)
                window.add(batch, self._send(topic, command, size, timeout))
                await window.make_room()
                if window.error is not None:
                    break
            await window.drain()
        finally:
            window.abandon()
            self._batching -= 1
            self._rest()
        if window.error is not None:
            raise PartlyPublished(
                window.confirmed, window.unconfirmed, window.error
            ) from window.error
        return window.confirmed

    def _send(
        self, topic: str, command: bytes, size: "Size | None", timeout: float | None
    ) -> "_Publish":
        seconds = self._timeout if timeout is None else check_seconds("timeout", timeout)
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            raise ClientClosed("the producer is open in another event loop")
        publish = _Publish(self, topic, command, size, seconds, loop)
        if self._is_over:
            publish.settle(ClientClosed("the producer was closed"))
            return publish
        self._open.add(publish)
        self._waiting.append(publish)
        if self._sweep is None:
            self._sweep = loop.call_later(SWEEP_SECONDS, self._expire)
        self._pump()
        return publish

    # The queue

    def _pump(self) -> None:
        """Hand out what waits, as far as there is room."""
        waiting = self._waiting
        while waiting:
            publish = waiting[0]
            if publish.future.done():
                waiting.popleft()
                continue
            outlet = self._choose()
            if outlet is None:
                return
            waiting.popleft()
            outlet.take(publish)

    def _choose(self, besides: "_Outlet | None" = None) -> "_Outlet | None":
        outlets = self._outlets
        if len(outlets) == 1:
            return outlets[0] if outlets[0].has_room and besides is None else None
        able = [outlet for outlet in outlets if outlet.has_room and outlet is not besides]
        now = asyncio.get_running_loop().time()
        able = [outlet for outlet in able if not outlet.drains(now)] or able
        able = [outlet for outlet in able if not outlet.owes(now)] or able
        return min(able, key=_sent, default=None) if self._spread else next(iter(able), None)

    def _failed(self, publish: "_Publish", error: NsqError) -> None:
        """Decide what becomes of a publish that was sent in vain."""
        if publish.is_settled:
            return
        retried = self._resend
        if isinstance(error, RequestFailed):
            retried = error.code in _RETRIED_CODES
            error = PublishFailed(error.code, error.text)
        else:
            publish.losses += 1
        if retried:
            publish.last_error = error
            self._waiting.append(publish)
        else:
            publish.settle(error)

    def _forget(self, publish: "_Publish") -> None:
        self._open.discard(publish)
        if not self._open:
            self._rest()

    def _rest(self) -> None:
        if not self._open and not self._batching:
            self._idle.set()

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        for publish in [publish for publish in self._open if publish.impatient_at <= now]:
            if publish.deadline <= now:
                cause = publish.last_error or self._connect_error() or self._refusal()
                publish.settle(DeadlineExceeded("publishing", publish.timeout, cause))
            else:
                self._try_elsewhere(publish)
        if any(outlet.rest.refusal is not None for outlet in self._outlets):
            self._wake()
        self._sweep = loop.call_later(SWEEP_SECONDS, self._expire) if self._open else None

    def _wake(self) -> None:
        """Look whether what waits for the rest of an nsqd can go on."""
        self._pump()
        for outlet in self._outlets:
            outlet.wake_side()

    def _try_elsewhere(self, publish: "_Publish") -> None:
        """Half of the time of a publish is over: give it to a second nsqd as well."""
        outlet = publish.outlet
        if outlet is None or not self._resend:
            publish.impatient_at = publish.deadline
            return
        other = self._choose(besides=outlet)
        if other is not None and not other.owes(asyncio.get_running_loop().time()):
            publish.impatient_at = publish.deadline
            other.take(_Second(publish))

    def _at(self, address: Address) -> "Iterator[_Outlet]":
        """Yield the outlets to an nsqd that judge publishes."""
        return (outlet for outlet in self._outlets if outlet.link.address == address)

    @property
    def is_late(self) -> bool:
        """Whether every nsqd has owed an answer for a while: another producer may do better."""
        now = asyncio.get_running_loop().time()
        return bool(self._outlets) and all(outlet.owes(now) for outlet in self._outlets)

    def _refusal(self) -> NsqError | None:
        """Why no nsqd stores anything; None if one does, as far as is known."""
        refusals = [outlet.rest.refusal for outlet in self._outlets]
        return None if None in refusals else refusals[0]

    def _connect_error(self) -> ConnectFailed | None:
        """Why no nsqd is connected; None if one is."""
        errors = [outlet.link.last_error for outlet in self._outlets]
        return None if None in errors else errors[0]


class Size(NamedTuple):
    """What nsqd measures a publish by."""

    word: str
    message: int  # bytes of the largest one
    body: int = 0  # bytes of an MPUB
    defer_ms: int = 0

    def refusal(self, known: Mapping[str, int]) -> PublishFailed | None:
        """Return what nsqd would answer, as far as its limits are known."""
        limit = known.get("max_body_size", self.body)
        if self.body > limit:
            return PublishFailed("E_BAD_BODY", f"{self.word} body too big {self.body} > {limit}")
        limit = known.get("max_msg_size", self.message)
        if self.message > limit:
            text = f"{self.word} message too big {self.message} > {limit}"
            return PublishFailed("E_BAD_MESSAGE", text)
        limit = known.get("max_req_timeout_ms", self.defer_ms)
        if self.defer_ms > limit:
            text = f"{self.word} timeout {self.defer_ms} out of range 0-{limit}"
            return PublishFailed("E_INVALID", text)
        return None


class _Publish:
    """One command on its way. A ``Request`` of its connection, and of one after another."""

    __slots__ = (
        "_producer",
        "_size",
        "command",
        "deadline",
        "future",
        "impatient_at",
        "is_deferred",
        "last_error",
        "losses",
        "outlet",
        "timeout",
        "topic",
    )

    def __init__(
        self,
        producer: Producer,
        topic: str,
        command: bytes,
        size: Size | None,
        timeout: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """``size`` None: of a PUB, which the command tells."""
        self.topic = topic
        self.command = command
        self._size = size
        self.is_deferred = size is not None and size.defer_ms > 0
        self.timeout = timeout
        now = loop.time()
        self.deadline = now + timeout
        self.impatient_at = now + timeout / 2  # when it is sent to a second nsqd; then deadline
        self.losses = 0  # of connections, while it was under way
        self.outlet: _Outlet | None = None  # where it was sent last
        self.last_error: NsqError | None = None
        self._producer = producer
        self.future: asyncio.Future[None] = loop.create_future()

    @property
    def size(self) -> Size:
        """What nsqd measures it by."""
        if self._size is None:
            self._size = Size("PUB", len(self.command) - len(f"PUB {self.topic}\n") - SIZE.size)
        return self._size

    async def wait(self) -> None:
        """Wait for the outcome; to be cancelled is an outcome too."""
        try:
            await self.future
        except asyncio.CancelledError:
            self._producer._forget(self)  # `settle` does not
            raise

    def abandon(self) -> None:
        """Nobody waits any more."""
        if not self.future.cancel() and not self.future.cancelled():
            self.future.exception()  # asyncio complains of errors that nobody looks at
        self._producer._forget(self)

    @property
    def is_settled(self) -> bool:
        return self.future.done()

    def settle(self, error: NsqError | None) -> None:
        self._producer._forget(self)
        if self.future.done():
            return
        if error is None:
            self.future.set_result(None)
        else:
            self.future.set_exception(error)

    # Request

    def confirm(self) -> None:
        if self.outlet is not None:
            self.outlet.confirmed(self)
        self._producer._forget(self)
        if not self.future.done():
            self.future.set_result(None)

    def fail(self, error: NsqError) -> None:
        if self.outlet is not None and isinstance(error, RequestFailed):
            self.outlet.refused(self, error)
        self._producer._failed(self, error)


class _Second(_Publish):
    """
    A publish that is sent to a second nsqd while the first owes its answer.

    What confirms it confirms the other. What refuses it, or loses it, leaves that to the other.
    """

    __slots__ = ("_first",)

    def __init__(self, first: _Publish) -> None:
        loop = first.future.get_loop()
        super().__init__(
            first._producer, first.topic, first.command, first.size, first.timeout, loop
        )
        self._first = first

    @property
    def is_settled(self) -> bool:
        return self._first.is_settled

    def settle(self, error: NsqError | None) -> None:
        if error is None:
            self._first.settle(None)
        else:
            self._first.last_error = error

    def confirm(self) -> None:
        if self.outlet is not None:
            self.outlet.confirmed(self)
        self.settle(None)

    def fail(self, error: NsqError) -> None:
        self.settle(error)


class _Outlet:
    """One nsqd of a producer: its link, and its connection while there is one. A ``Listener``."""

    def __init__(self, producer: Producer, address: Address, main: "_Outlet | None" = None) -> None:
        self.link = Link(address, producer._settings, self._next_connection)
        self._is_side = main is not None  # takes what is risky, one after another
        self.rest: Rest = main.rest if main is not None else producer._make_rest()
        self._risky: deque[_Publish] = deque()  # on a side connection: those that wait
        self._side: _Outlet | None = None
        self._known: dict[str, int] = {}  # limits that it has told, or refused something by
        self._safe_bytes = USUAL_LIMITS.max_msg_size  # a command up to this is nothing to judge
        self._refused_topics: set[str] = set()  # where we may not publish
        self._drains_until = 0.0
        self.outstanding_bytes = 0
        self.sent = 0  # commands; who has fewest comes next when they take turns
        self.make_message: MakeMessage = partial(Message, _Unasked())
        self._producer = producer
        self._connection: Connection | None = None

    @property
    def has_room(self) -> bool:
        connection = self._connection
        return (
            connection is not None
            and connection.can_send
            and self.outstanding_bytes < self._producer._outstanding_bytes_max
            and (self.rest.refusal is None or self._is_rested())
        )

    def _is_rested(self) -> bool:
        """Whether it gets one message, to see if it stores messages again."""
        if self.outstanding_bytes or self.rest.lasts(asyncio.get_running_loop().time()):
            return False
        return self._side is None or not self._side.outstanding_bytes

    def owes(self, now: float) -> bool:
        """Whether it has not answered for so long that others are better."""
        connection = self._connection
        return connection is not None and connection.owes(now, self._producer._slow_after)

    def drains(self, now: float) -> bool:
        """Whether it has said a moment ago that it is being emptied."""
        return now < self._drains_until

    def take(self, publish: _Publish) -> None:
        """Send a publish, unless it is known to be refused, or needs a connection of its own."""
        if (
            len(publish.command) > self._safe_bytes
            or publish.is_deferred
            or publish.losses > LOSSES_MAX
            or publish.topic in self._refused_topics
        ):
            refusal = publish.size.refusal(self._known)
            if refusal is not None:
                publish.settle(refusal)
                return
            if self._is_risky(publish):
                self._take_risky(publish)
                return
        self.send(publish)

    def _is_risky(self, publish: _Publish) -> bool:
        return (
            publish.losses > LOSSES_MAX
            or publish.topic in self._refused_topics
            or publish.size.refusal(asdict(USUAL_LIMITS) | self._known) is not None
        )

    def _take_risky(self, publish: _Publish) -> None:
        if self._side is None:
            self._side = _Outlet(self._producer, self.link.address, main=self)
        publish.outlet = self
        self._side._risky.append(publish)
        self._side._next_risky()

    def wake_side(self) -> None:
        """Look whether what is risky can go on."""
        if self._side is not None:
            self._side._next_risky()

    def _next_risky(self) -> None:
        """Send the next one when all before are answered: it can do harm to itself only."""
        while self._risky and self.has_room and not self.outstanding_bytes:
            publish = self._risky.popleft()
            if not publish.is_settled:
                self.send(publish)

    def refused(self, publish: _Publish, error: RequestFailed) -> None:
        """Learn from what nsqd did not take."""
        now = asyncio.get_running_loop().time()
        if error.says_draining:
            for outlet in self._producer._at(self.link.address):
                outlet._drains_until = now + DRAINING_SECONDS
        elif error.code in _RETRIED_CODES:
            failure = PublishFailed(error.code, error.text)
            for outlet in self._producer._at(self.link.address):
                outlet.rest.refused(failure, now, random.random())
        for name, pattern in _TOO_MUCH.items():
            if found := pattern.search(error.text):
                for outlet in self._producer._at(self.link.address):
                    outlet._know({name: int(found[1])})
        if error.code in _FORBIDDEN_CODES:
            for outlet in self._producer._at(self.link.address):
                outlet._refused_topics.add(publish.topic)

    def confirmed(self, publish: _Publish) -> None:
        """It has stored one."""
        self.outstanding_bytes -= len(publish.command)
        if self.rest.refusal is not None:
            self.rest.stored()
            self._producer._wake()  # on the other connection there is nothing that would

    def _know(self, limits: Mapping[str, int]) -> None:
        self._known.update(limits)
        self._safe_bytes = min(self._known.get("max_msg_size", self._safe_bytes), self._safe_bytes)

    def send(self, publish: _Publish) -> None:
        assert self._connection is not None, "has_room was not asked"
        publish.outlet = self
        self.sent += 1
        self.outstanding_bytes += len(publish.command)
        self._connection.request(publish, publish.command)

    def stop(self) -> Iterator[asyncio.Task[None]]:
        """Connect no more. Yields tasks to be waited for."""
        yield self.link.stop()
        if self._side is not None:
            yield from self._side.stop()

    async def close(self) -> None:
        if self._side is not None:
            await self._side.close()
        if self._connection is not None:
            await self._connection.close()

    def abort(self) -> None:
        if self._side is not None:
            self._side.abort()
        if self._connection is not None:
            self._connection.abort()

    # Listener

    def _next_connection(self) -> "_Outlet":
        return self

    def connection_opened(self, connection: Connection) -> None:
        self._connection = connection
        if connection.negotiated.limits is not None:
            self._known.clear()
            self._safe_bytes = USUAL_LIMITS.max_msg_size
            self._know(asdict(connection.negotiated.limits))
        # Else it would get every message until it has caught up with the others.
        self.sent = max(outlet.sent for outlet in self._producer._outlets)
        self.progressed()

    def messages_received(self, messages: list[Message]) -> None:
        _log.warning("nsqd sent messages to a producer")

    def answer_failed(self, code: str, text: str) -> None:
        _log.warning("unexpected answer: %s %s", code, text)

    def close_wait(self) -> None:
        _log.warning("unexpected answer: CLOSE_WAIT")

    def progressed(self) -> None:
        if self._is_side:
            self._next_risky()
        else:
            self._producer._pump()

    def connection_lost(self, error: NsqError) -> None:
        # Its publishes are back in the queue already.
        if self._connection is not None and not self._connection.was_refused:
            self._known.clear()  # it may be another one that comes back
        self._connection = None
        self.outstanding_bytes = 0
        self._producer._pump()
        if self._is_side:
            self._next_risky()


class _Window:
    """The batches of one ``publish_many`` that are on their way, oldest first."""

    def __init__(self) -> None:
        self.confirmed = 0  # messages
        self.unconfirmed: list[bytes] = []
        self.error: NsqError | None = None  # the first one
        self._batches: deque[tuple[list[bytes], _Publish]] = deque()

    def add(self, batch: list[bytes], publish: _Publish) -> None:
        self._batches.append((batch, publish))

    async def make_room(self) -> None:
        while len(self._batches) >= BATCHES_IN_FLIGHT_MAX:
            await self._settle_oldest()

    async def drain(self) -> None:
        while self._batches:
            await self._settle_oldest()

    def abandon(self) -> None:
        """Do not wait for the rest."""
        for _, publish in self._batches:
            publish.abandon()

    async def _settle_oldest(self) -> None:
        batch, publish = self._batches[0]
        try:
            await publish.wait()
        except NsqError as exc:
            self.error = self.error or exc
            self.unconfirmed += batch
        else:
            self.confirmed += len(batch)
        self._batches.popleft()


class _Unasked:
    """The source of messages that a producer never subscribed to: takes no answers."""

    codec: Codec = BYTES
    origin: Origin = Origin()

    def finish(self, message: Message) -> bool:
        return False

    def requeue(self, message: Message, delay: float | None, backoff: bool) -> bool:
        return False

    def touch(self, message: Message) -> bool:
        return False

    def is_open(self, message: Message) -> bool:
        return False

    def give_back(self, message: Message) -> None:
        """Nothing to return."""

    def hold(self, message: Message) -> None:
        """Nothing to keep."""

    def release(self, message: Message) -> None:
        """Nothing was kept."""


def batches(bodies: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Cut into lists of at most ``BATCH_MESSAGES_MAX``, and about ``BATCH_BYTES_MAX`` together."""
    batch: list[bytes] = []
    size = 0
    for body in bodies:
        batch.append(body)
        size += len(body)
        if size >= BATCH_BYTES_MAX or len(batch) == BATCH_MESSAGES_MAX:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _sent(outlet: _Outlet) -> int:
    return outlet.sent
