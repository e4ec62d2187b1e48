"""
Consumes a channel of a topic from all nsqds that have it.

Theory of operation. ``Sources`` knows where nsqds are, and has a ``Link`` to each, which makes
one ``Subscription`` after another. The consumer hands on what they receive: to its inbox, from
which users take, or to the task that deals with given-up messages. It decides how much each may
deliver, by ``ReadyCounts`` and ``Backoff``, which know no sockets: ``_steer`` asks them and sends
the RDYs that changed. It runs when connections come and go, when one of the two has set a time,
and when answers were given that one of them waits for.
"""

# ruff: noqa: ASYNC109
# The timeout of close() does not cancel it: what is unanswered by then is given up in good order.

import asyncio
import contextlib
import inspect
import logging
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Container, Iterable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Literal, Self

from nsqx.client.addresses import Address
from nsqx.client.backoff import Backoff, BackoffPolicy, Phase
from nsqx.client.codecs import JSON, Codec
from nsqx.client.discovery import INTERVAL_SECONDS, JITTER
from nsqx.client.errors import ClientClosed, DecodeFailed, HandlerFailed
from nsqx.client.handlers import check_handler, collect_begun, is_cancelled, settle
from nsqx.client.inbox import Inbox, InboxClosedError
from nsqx.client.lookup import TIMEOUT_SECONDS
from nsqx.client.lookupds import LookupdFinder
from nsqx.client.message import Message
from nsqx.client.pace import Pace
from nsqx.client.prefetch import Prefetch
from nsqx.client.ranges import check_count, check_seconds
from nsqx.client.ready_counts import ReadyCounts, Share
from nsqx.client.settings import Settings
from nsqx.client.sources import FORGET_SECONDS, Patience, Sources
from nsqx.client.subscription import EXPIRY_GRACE_SECONDS, Subscription
from nsqx.protocol.names import is_valid_name

__all__ = ["Consumer", "ConsumerStats", "Handler"]

_log = logging.getLogger("nsqx.client")

MAX_IN_FLIGHT = 50
REQUEUE_DELAY_SECONDS = 90.0  # as go-nsq: times the attempts, up to the maximum
REQUEUE_DELAY_SECONDS_MAX = 900.0
DRAIN_SECONDS = 10.0
# Who took a message without ``async with`` may have dropped it, for example by leaving a loop.
UNHELD_SECONDS = 1.0
CANCEL_SECONDS = 1.0  # until a handler that was cut off has ended, or is left behind
RETURNED_MAX = 10_000  # ids of messages that are remembered, for an nsqd that counted an attempt
DONE_MAX = 10_000  # likewise, of those that were finished too late for nsqd
DONE_SECONDS = 900.0
FILL_SHARE = 1 / 2  # of their time that is left: so long messages wait for others to come

Handler = Callable[[Message], Awaitable[object] | None]


@dataclass(slots=True)
class ConsumerStats:
    """Counts since the consumer was opened, of messages unless said otherwise."""

    received: int = 0
    finished: int = 0
    requeued: int = 0
    given_up: int = 0  # had more attempts than max_attempts
    expired: int = 0  # not answered in time, or lost with their connection
    given_back: int = 0  # nobody here had begun with them
    connections: int = 0  # at present


class Consumer:
    """
    Receives the messages of a channel::

        async with Consumer("orders", "billing", lookupd="127.0.0.1:4161") as consumer:
            async for message in consumer:
                async with message:
                    print(message.body)

    The alternatives to ``async for`` are ``batches`` and ``run``; use one of the three. When the
    block is left, or ``close`` called, messages nobody has taken go back to nsqd, those taken may
    still be answered for a while, and then the connections are closed.

    Args:
        topic, channel: created if they do not exist.
        nsqd: ``host:port`` of one nsqd or of several, all of which are consumed. A name that
            has several addresses stands for as many.
        lookupd: ``host:port`` or URL of one lookupd or of several. All are asked, and every
            nsqd that one of them names is consumed, besides those in ``nsqd``. A name that
            has several addresses stands for as many.
        discover: knows further lookupds, such as those on the local network
            (``nsqx.runtime.discovery.Finder``).
        max_in_flight: how many messages may be unanswered at a time, over all connections.
            Those that wait in the consumer count. While they turn out to wait for longer than
            half of ``msg_timeout``, only as many as are asked for are fetched.
        settings: of the connections.
        codec: what ``message.decode`` reads.
        max_attempts: a message delivered more often is not handed out: it is given to
            ``on_give_up`` and finished. None: no limit.
        on_give_up: may, for example, publish the message elsewhere. If it raises, the
            message is requeued.
        requeue_delay: seconds; times the attempts of a message, and at most
            ``requeue_delay_max``, it is the delay after a failure.
        backoff: slows down all deliveries while handlers fail. None: only for ``run``, with
            the usual policy. False: never.
        lookupd_poll_interval: seconds, give or take a little.
        lookupd_poll_jitter: how little: a share of the interval, from 0 to 1.
        lookupd_poll_timeout: seconds that a poll may take.
        drain_timeout: seconds for messages in work to be answered after closing began.
        cautious: whether messages are fetched ahead only after a first one was answered
            quickly: for handlers that may take long.
        forget_after: seconds that an nsqd which is lost, and named by no lookupd any more, is
            tried on.
        expiry_grace: seconds after which a message whose time is over counts as such: nsqd
            notices later, too, and takes an answer until then.
    """

    # Beyond 30 attributes an object without slots is slower to read, and two of these are read per
    # message. Users may still give it attributes of their own.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_at_hand",
        "_backoff",
        "_backoff_policy",
        "_closed",
        "_counts",
        "_done",
        "_drain_timeout",
        "_drained",
        "_expiry_grace",
        "_given_up",
        "_inbox",
        "_is_closing",
        "_is_held_back",
        "_limits_told",
        "_loop",
        "_max_attempts",
        "_max_in_flight",
        "_on_give_up",
        "_pace",
        "_prefetch",
        "_requeue_delay",
        "_requeue_delay_max",
        "_returned",
        "_sources",
        "_steer_is_due",
        "_steer_timer",
        "_subscriptions",
        "_tasks",
        "_waits_for_held_only",
        "_was_opened",
        "_watches_answers",
        "_workers",
        "channel",
        "codec",
        "is_paused",
        "lookupd_poll_jitter",
        "lookupd_poll_timeout",
        "stats",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        channel: str,
        *,
        nsqd: str | Iterable[str] = (),
        lookupd: str | Iterable[str] = (),
        discover: LookupdFinder | None = None,
        max_in_flight: int = MAX_IN_FLIGHT,
        settings: Settings | None = None,
        codec: Codec = JSON,
        max_attempts: int | None = None,
        on_give_up: Handler | None = None,
        requeue_delay: float = REQUEUE_DELAY_SECONDS,
        requeue_delay_max: float = REQUEUE_DELAY_SECONDS_MAX,
        backoff: BackoffPolicy | Literal[False] | None = None,
        lookupd_poll_interval: float = INTERVAL_SECONDS,
        lookupd_poll_jitter: float = JITTER,
        lookupd_poll_timeout: float = TIMEOUT_SECONDS,
        drain_timeout: float = DRAIN_SECONDS,
        cautious: bool = False,
        forget_after: float = FORGET_SECONDS,
        expiry_grace: float = EXPIRY_GRACE_SECONDS,
    ) -> None:
        """
        Nothing is connected yet: ``async with`` does that.

        Raises:
            ValueError: a name, a number or an address is wrong, or there is no address.
            TypeError: ``on_give_up`` is no handler, or ``backoff`` no policy.
        """
        if not is_valid_name(topic) or not is_valid_name(channel):
            raise ValueError(f"not a valid topic and channel: {topic!r}, {channel!r}")
        self.topic = topic
        self.channel = channel
        self.codec = codec
        self.stats: ConsumerStats = ConsumerStats()
        self.lookupd_poll_jitter = lookupd_poll_jitter
        self.lookupd_poll_timeout = lookupd_poll_timeout
        patience = Patience(
            check_seconds("lookupd_poll_interval", lookupd_poll_interval),
            check_seconds("lookupd_poll_jitter", lookupd_poll_jitter, most=1),
            check_seconds("lookupd_poll_timeout", lookupd_poll_timeout, above_zero=True),
            check_seconds("forget_after", forget_after),
        )
        self._sources = Sources(topic, nsqd, lookupd, discover, settings or Settings(), patience)
        self._max_in_flight = check_count("max_in_flight", max_in_flight)
        if max_attempts is not None:
            check_count("max_attempts", max_attempts, 1)
        self._max_attempts = max_attempts
        self.is_paused: bool = False
        if on_give_up is not None:
            check_handler(on_give_up)
        self._on_give_up = on_give_up
        self._requeue_delay = check_seconds("requeue_delay", requeue_delay)
        self._requeue_delay_max = check_seconds("requeue_delay_max", requeue_delay_max)
        if backoff and not isinstance(backoff, BackoffPolicy):
            raise TypeError(f"backoff is a BackoffPolicy, False or None, not {backoff!r}")
        self._backoff_policy = backoff
        self._drain_timeout = check_seconds("drain_timeout", drain_timeout)
        self._expiry_grace = check_seconds("expiry_grace", expiry_grace)
        self._backoff = Backoff(backoff) if backoff else None
        self._prefetch = Prefetch(cautious=cautious)
        self._is_held_back = cautious  # until ``_prefetch`` allows more
        self._watches_answers = cautious  # RDY depends on them
        self._counts = ReadyCounts(0 if cautious else max_in_flight)
        self._limits_told: set[tuple[Address, int]] = set()  # whose max_rdy_count was logged
        self._inbox = Inbox()
        self._at_hand = self._inbox.at_hand
        self._inbox.on_wait = self._steer_soon if cautious else None
        self._pace = Pace()
        self._returned: dict[bytes, int] = {}  # deliveries that do not count, by id
        self._done: dict[bytes, float] = {}  # ids that nsqd took no FIN of: until when to know them
        self._given_up = Inbox()
        self._filling: set[asyncio.Timeout] = set()  # of those who wait for more than they have
        self._subscriptions: dict[Share, Subscription] = {}  # those that are connected
        self._tasks: set[asyncio.Task[None]] = set()
        self._workers: set[asyncio.Task[BaseException | None]] = set()
        self._steer_timer: asyncio.TimerHandle | None = None
        self._steer_is_due = False
        self._drained = asyncio.Event()
        self._closed = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None  # where it was opened
        self._was_opened = self._is_closing = self._waits_for_held_only = False

    # Opening and closing

    async def __aenter__(self) -> Self:
        if self._was_opened:
            raise ClientClosed("this consumer was opened before")
        self._was_opened = True
        self._loop = asyncio.get_running_loop()
        self._own(asyncio.create_task(self._give_up()))
        self._sources.open(self._subscribe, self._connected)
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
        Wait until every nsqd that was given by address was tried once.

        Not needed before consuming. Takes ``settings.connect_timeout`` at most, and as much again
        for names.

        Raises:
            ConnectFailed: one of them could not be reached; it is tried on.
        """
        await self._sources.ready()

    async def close(self, timeout: float | None = None) -> None:
        """
        Take no more messages, wait until those taken are answered, and disconnect.

        ``async for``, ``batches`` and ``run`` end.

        Args:
            timeout: seconds to wait for messages in ``async with`` or a handler, instead of
                ``drain_timeout``. Others have a second. Then what is unanswered is requeued.

        Raises:
            ValueError: ``timeout`` is no number of seconds; nothing is closed.
        """
        if timeout is not None:
            check_seconds("timeout", timeout)
        if self._is_closing:
            await self._closed.wait()
            return
        self._is_closing = True
        try:
            if stopping := self._sources.stop():
                await asyncio.wait(stopping)
            self._return_untaken()
            await self._drain(self._drain_timeout if timeout is None else timeout)
            closing = [subscription.close() for subscription in self._subscriptions.values()]
            await asyncio.gather(*closing)
        finally:
            # Also if close() is cancelled, and then perhaps before it came to this.
            self._inbox.close()
            for subscription in self._subscriptions.values():
                subscription.abort()
            for task in self._tasks - {asyncio.current_task()}:
                task.cancel()
            if self._steer_timer is not None:
                self._steer_timer.cancel()
            self._closed.set()

    def _return_untaken(self) -> None:
        for message in self._inbox.close() + self._given_up.close():
            message.give_back()
        for subscription in self._subscriptions.values():
            subscription.begin_close()

    async def _drain(self, seconds: float) -> None:
        await self._until_drained(min(seconds, UNHELD_SECONDS))
        self._waits_for_held_only = True
        await self._until_drained(seconds - UNHELD_SECONDS)
        for subscription in self._subscriptions.values():
            subscription.requeue_rest()
        await _cancelled({*self._tasks, *self._workers} - {asyncio.current_task()})

    async def _until_drained(self, seconds: float) -> None:
        self.drained()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._drained.wait()

    # Consuming

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        at_hand = self._at_hand
        if at_hand or self._has_more():
            return at_hand.popleft()
        try:
            return await self._get()
        except InboxClosedError:
            raise StopAsyncIteration from None

    def share_with_threads(self) -> None:
        """Let other threads take messages, by ``take_now``; to be called before it is opened."""
        self._inbox.all_at_hand = True

    def take_now(self) -> Message | None:
        """Return a message that has come, if it needs no wait; see ``share_with_threads``."""
        if not self._is_held_back:
            with contextlib.suppress(IndexError):
                message = self._at_hand.popleft()
                if message.is_open:
                    return message
        return None

    async def get(self, timeout: float | None = None) -> Message | None:
        """Return the next message, or None if none comes within so many seconds or any more."""
        messages = await self.fetch(1, timeout)
        return messages[0] if messages else None

    async def fetch(self, max: int, timeout: float | None = None) -> list[Message]:
        """
        Return so many messages, or those that came within ``timeout`` seconds.

        An empty list: none came, or the consumer is closed. Once some have come, they are not held
        back for what cannot come: there are fewer if ``max_in_flight`` messages are unanswered, a
        ``pause`` begins, or half of the time to answer them is over.
        """
        check_count("max", max, 1)
        if timeout is not None:
            check_seconds("timeout", timeout)
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        while messages := await self._first(max, _left(until)):
            if messages := await self._fill(messages, max, _left(until)):
                break
        return messages

    async def batches(
        self,
        max: int = 100,
        wait: float = 0.05,
    ) -> AsyncGenerator[list[Message], None]:
        """
        Yield lists of 1 to ``max`` messages.

        A list is yielded when it is full, ``wait`` seconds after its first message came, or when
        it would not become fuller, as with ``fetch``.
        """
        check_count("max", max, 1)
        check_seconds("wait", wait)
        while batch := await self._first(max, None):
            if batch := await self._fill(batch, max, wait):
                yield batch

    async def run(
        self, handler: Handler, *, concurrency: int = 1, timeout: float | None = None
    ) -> None:
        """
        Call ``handler`` with every message until the consumer is closed.

        When it returns, the message is finished; when it ends in any other way, the message is
        requeued and the error logged. An answer the handler gave itself stands. Messages are
        touched while the handler runs. ``sys.exit()`` in a handler lets the others finish first.

        Args:
            handler: a coroutine function, or a plain function that does not block. What it returns
                is awaited, if it can be, and so is what it publishes by an ``Nsq``.
            concurrency: how many messages are handled at the same time.
            timeout: seconds after which a handler that waits for something is cut off, which is a
                failure. None: never.

        Raises:
            TypeError: ``handler`` is a generator or a class.
            ValueError: a number is wrong.
            RuntimeError: somebody ended what calls the handler.
        """
        check_handler(handler)
        leaving = await self.run_until_exit(handler, concurrency=concurrency, timeout=timeout)
        if leaving is not None:
            raise leaving

    async def run_until_exit(
        self, handler: Handler, *, concurrency: int = 1, timeout: float | None = None
    ) -> BaseException | None:
        """
        Do what ``run`` does, but return what a handler raised to end the program.

        For tasks: the event loop stops at once when a task raises ``SystemExit``.
        """
        check_count("concurrency", concurrency, 1)
        if timeout is not None:
            check_seconds("timeout", timeout, above_zero=True)
        if self._backoff is None and self._backoff_policy is None:
            self._backoff = Backoff(BackoffPolicy())
        workers = {
            asyncio.create_task(
                self._work(handler, timeout), name=f"nsqx worker of {self.topic}/{self.channel}"
            )
            for _ in range(concurrency)
        }
        self._workers |= workers
        try:
            return await self._supervise(workers)
        finally:
            await _cancelled(workers)
            self._workers -= workers

    async def _supervise(
        self, workers: "set[asyncio.Task[BaseException | None]]"
    ) -> BaseException | None:
        """Wait for the end of all; a worker that ends by mistake ends all."""
        left, leaving = workers, None
        while left:
            ended, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for worker in ended:
                if worker.cancelled():
                    if not self._is_closing:
                        raise RuntimeError(f"somebody cancelled the task {worker.get_name()!r}")
                elif (error := worker.result()) is not None:  # raises what it ended by
                    leaving = leaving or error
                    self._own(asyncio.create_task(self.close()))
        return leaving

    @property
    def max_in_flight(self) -> int:
        """How many messages may be unanswered at a time; may be set. 0 pauses."""
        return self._max_in_flight

    @max_in_flight.setter
    def max_in_flight(self, count: int) -> None:
        self._max_in_flight = check_count("max_in_flight", count)
        for subscription in self._subscriptions.values():
            self._tell_limit(subscription)
        self._limit()

    def pause(self) -> None:
        """Have nothing more delivered until ``resume``; what has come is handed out."""
        self.is_paused = True
        self._limit()

    def resume(self) -> None:
        """Go on after ``pause``."""
        self.is_paused = False
        self._limit()

    @property
    def is_closing(self) -> bool:
        """Whether ``close`` was called."""
        return self._is_closing

    @property
    def is_starved(self) -> bool:
        """Whether some nsqd has delivered nearly all it may: more ``max_in_flight`` may help."""
        return any(
            share.in_flight and len(share.in_flight) >= share.rdy * 0.85
            for share in self._counts.shares
        )

    @property
    def http_addresses(self) -> list[str]:
        """
        ``host:port`` of the nsqds that it is connected to, where they are asked over HTTP.

        Only nsqds of nsqx say their port.
        """
        found = (each.http_address for each in self._subscriptions.values())
        return [address for address in found if address]

    async def _get(self) -> Message:
        """Take a message; before, let the event loop turn if it had no turn for long."""
        self._check_open()
        if self._has_more():
            return self._at_hand.popleft()
        if self._inbox:
            await self._turn()
        message = await self._inbox.get()
        self._pace.turned(_now())
        return message

    def _check_open(self) -> None:
        if asyncio.get_running_loop() is not self._loop:
            is_open = "open in another event loop" if self._was_opened else "not open"
            raise ClientClosed(f"the consumer is {is_open}")

    async def _turn(self) -> None:
        """Let the event loop turn, and with it go back what waited for too long."""
        await asyncio.sleep(0)
        for subscription in list(self._subscriptions.values()):
            subscription.sweep_if_due()  # timers come after us

    def _has_more(self) -> bool:
        """Put messages at hand, if some have come and the present turn has time for them."""
        inbox = self._inbox
        if (inbox.behind or self._at_hand) and (granted := self._pace.look(_now())):
            inbox.bring(granted)
            return True
        return False

    async def _first(self, most: int, wait: float | None) -> list[Message]:
        """Return messages that have come, or wait for one; none: it did not, or never will."""
        self._check_open()
        if self._inbox and not self._has_more():
            await self._turn()
            self._pace.turned(_now())
        batch = self._inbox.take_batch(self._room_for(most))
        if not batch:
            with contextlib.suppress(TimeoutError, InboxClosedError):
                async with asyncio.timeout(wait):
                    batch = [await self._get()]
        return batch

    async def _fill(self, batch: list[Message], most: int, wait: float | None) -> list[Message]:
        """Wait for more, as long as there may be more, and return those that are still ours."""
        # All of them are as old as the first, or younger, and their time runs.
        longest = (_left(batch[0].deadline) or 0.0) * FILL_SHARE
        filling = asyncio.timeout(longest if wait is None else min(wait, longest))
        try:
            async with filling:
                self._filling.add(filling)
                batch += self._inbox.take_batch(self._room_for(most) - len(batch))
                while len(batch) < self._room_for(most) and not self._is_exhausted():
                    batch.append(await self._inbox.get())
                    batch += self._inbox.take_batch(self._room_for(most) - len(batch))
        except TimeoutError:
            pass  # then it is not full
        except BaseException as exc:
            for message in batch:
                message.give_back()
            if not isinstance(exc, InboxClosedError):
                raise
            return []  # who closes has returned the untaken ones before
        finally:
            self._filling.discard(filling)
            self._end_filling()  # others may wait for what we have
        return [message for message in batch if message.is_open]

    def _room_for(self, most: int) -> int:
        return min(most, self._max_in_flight or 1)

    def _is_exhausted(self) -> bool:
        """Whether nothing comes before something was answered, or ``resume`` called."""
        if self._inbox:
            return False
        most = 0 if self.is_paused else self._max_in_flight
        given = sum(share.max_rdy for share in self._subscriptions)
        return sum(len(share.in_flight) for share in self._subscriptions) >= min(most, given)

    def _end_filling(self) -> None:
        """Have those go on who wait for more messages, if there will be no more."""
        if self._filling and self._is_exhausted():
            now = asyncio.get_running_loop().time()
            for filling in self._filling:
                if not filling.expired():
                    filling.reschedule(now)
            self._filling.clear()

    async def _work(self, handler: Handler, timeout: float | None) -> BaseException | None:
        """Handle one message after another. Returns what a handler raised to end the program."""
        at_hand, begun = self._at_hand, collect_begun(handler)
        if timeout is not None:
            handler = partial(_limited, handler, begun, timeout)
        with contextlib.suppress(InboxClosedError):
            while True:
                has_some = at_hand or self._has_more()
                message = at_hand.popleft() if has_some else await self._get()
                message.begin()
                try:
                    answer = handler(message)
                    if answer is not None or begun:
                        if begun or not inspect.isawaitable(answer):
                            await settle(answer, begun)
                        else:
                            result = await answer
                            begun.clear()
                            if result is not None:
                                await settle(result)
                except BaseException as exc:  # there are many ways to end, and all are failures
                    begun.clear()
                    self._failed(message, exc)
                    if is_cancelled(exc):
                        raise
                    if isinstance(exc, SystemExit | KeyboardInterrupt):
                        return exc
                else:
                    message.end()
        return None

    def _failed(self, message: Message, error: BaseException) -> None:
        """Log how a handler ended, and have the message come again."""
        if is_cancelled(error):
            message.end(error)
            return
        _log.error(
            "%s/%s: handler failed on message %s, attempt %d",
            self.topic,
            self.channel,
            message.id.decode(errors="replace"),
            message.attempts,
            exc_info=error,
        )
        if isinstance(error, DecodeFailed) and error.body == message.body:
            message.requeue(None, backoff=False)  # it is to blame, and not the moment
        message.end(HandlerFailed(repr(error)))

    async def _give_up(self) -> None:
        """Deal with messages that were delivered too often, one after another."""
        with contextlib.suppress(InboxClosedError):
            while True:
                message = await self._given_up.get()
                self.stats.given_up += 1
                _log.warning(
                    "%s/%s: giving up on message %s after %d attempts",
                    self.topic,
                    self.channel,
                    message.id.decode(errors="replace"),
                    message.attempts,
                )
                message.begin()
                error = None
                if self._on_give_up is not None:
                    error = await _outcome(self._on_give_up, message)
                if error is None:
                    message.end()
                    continue
                self._failed(message, error)
                if is_cancelled(error):
                    raise error

    # Connections

    def _subscribe(self, address: Address) -> Subscription:
        return Subscription(self, address, self._expiry_grace)

    def _connected(self) -> set[Address]:
        return {subscription.address for subscription in self._subscriptions.values()}

    def _own(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # Subscriber: what subscriptions tell

    def connected(self, subscription: Subscription) -> None:
        self._subscriptions[subscription.share] = subscription
        self.stats.connections += 1
        if self._is_closing:
            subscription.abort()

    def subscribed(self, subscription: Subscription) -> None:
        if not self._is_closing:
            self._tell_limit(subscription)
            self._counts.join(subscription.share)
            self._steer()

    def _tell_limit(self, subscription: Subscription) -> None:
        """Say once that an nsqd does not give as much as is asked for."""
        most = subscription.share.max_rdy
        told = (subscription.address, most)
        if (
            subscription.is_subscribed
            and self._max_in_flight > most
            and told not in self._limits_told
        ):
            self._limits_told.add(told)
            _log.warning(
                "%s/%s: max_in_flight is %d, but nsqd %s gives %d at most (max_rdy_count)",
                self.topic,
                self.channel,
                self._max_in_flight,
                subscription.address,
                most,
            )

    def disconnected(self, subscription: Subscription) -> None:
        del self._subscriptions[subscription.share]
        self.stats.connections -= 1
        if subscription.share in self._counts.shares:
            self._counts.leave(subscription.share)
            self._steer()
        self._sources.hurry()
        if self._is_closing:
            self.drained()

    def received(self, subscription: Subscription, messages: list[Message]) -> None:
        self.stats.received += len(messages)
        if self._is_closing:
            for message in messages:
                message.give_back()
            return
        if self._returned:
            for message in messages:
                message.attempts -= self._returned.get(message.id, 0)
        if self._done:
            messages = self._without_done(messages)
        if self._max_attempts is not None:
            messages = self._sort_out(messages, self._max_attempts)
        self._inbox.put_batch(messages)

    def finished(self) -> None:
        self.stats.finished += 1
        backoff = self._backoff
        if (
            backoff is not None
            and backoff.phase is _TRYING
            and backoff.finished(asyncio.get_running_loop().time(), random.random())
        ):
            self._limit()
        if self._watches_answers:
            self._answered()

    def requeued(self, is_failure: bool) -> None:
        self.stats.requeued += 1
        if self._backoff is not None and not self._is_closing:
            signal = self._backoff.failed if is_failure else self._backoff.passed
            if signal(asyncio.get_running_loop().time(), random.random()):
                self._limit()
        if self._watches_answers:
            self._answered()

    def requeue_delay(self, message: Message) -> float:
        return min(self._requeue_delay * message.attempts, self._requeue_delay_max)

    def expired(self, messages: set[Message]) -> None:
        self.stats.expired += len(messages)
        self._inbox.drop(messages)
        self._given_up.drop(messages)
        if self._is_closing:
            self.drained()
        elif self._watches_answers:
            self._limit()

    def untaken(self, messages: Container[Message]) -> list[Message]:
        """Remove those of these messages that nobody has taken, and return them."""
        return self._inbox.drop(messages)

    def waited(self, messages: list[Message], msg_timeout: float) -> None:
        """Take note of messages that nobody took for half of their time."""
        self.stats.given_back += len(messages)
        self._hold_back(msg_timeout)

    def worked_long(self, msg_timeout: float) -> None:
        self._hold_back(msg_timeout)

    def given_back(self, message: Message) -> None:
        """Remember a delivery that does not count, since this nsqd has counted it."""
        count = self._returned.pop(message.id, 0)
        self._returned[message.id] = count + 1
        if len(self._returned) > RETURNED_MAX:
            del self._returned[next(iter(self._returned))]

    def finish_refused(self, id: bytes) -> None:
        """Remember a message that was handled, and whose time was over before nsqd knew that."""
        self._done.pop(id, None)
        self._done[id] = asyncio.get_running_loop().time() + DONE_SECONDS
        if len(self._done) > DONE_MAX:
            del self._done[next(iter(self._done))]

    def _without_done(self, messages: list[Message]) -> list[Message]:
        """Finish what was handled here and comes again; the first deliveries of a replay do not."""
        now = asyncio.get_running_loop().time()
        left = []
        for message in messages:
            if message.attempts > 1 and self._done.pop(message.id, 0.0) > now:
                message.finish()
            else:
                left.append(message)
        return left

    def drained(self) -> None:
        but_for_held = self._waits_for_held_only
        subscriptions = self._subscriptions.values()
        if all(
            subscription.is_drained(but_for_held=but_for_held) for subscription in subscriptions
        ):
            self._drained.set()

    def _sort_out(self, messages: list[Message], max_attempts: int) -> list[Message]:
        excess = [message for message in messages if message.attempts > max_attempts]
        if not excess:
            return messages
        for message in excess:
            message.begin()  # they wait for one another, and are touched meanwhile
        self._given_up.put_batch(excess)
        return [message for message in messages if message.attempts <= max_attempts]

    # RDY

    def _limit(self) -> None:
        """Take over what backoff, ``max_in_flight`` and those who take messages allow."""
        phase = self._backoff.phase if self._backoff is not None else Phase.OPEN
        allowed = {Phase.OPEN: self._max_in_flight, Phase.WAITING: 0, Phase.TRYING: 1}[phase]
        allowed = 0 if self.is_paused else min(allowed, self._max_in_flight)
        if self._is_held_back:
            allowed = min(allowed, self._wanted())
        if allowed != self._counts.allowance:
            self._counts.allow(allowed)
        self._steer()
        self._end_filling()

    def _wanted(self) -> int:
        """Return how many messages are in work, or would be if they were here."""
        in_flight = sum(len(share.in_flight) for share in self._subscriptions)
        return in_flight - len(self._inbox) + self._inbox.wanted

    def _answered(self) -> None:
        if self._is_held_back and self._prefetch.finished():
            self._let_go()
        self._steer_soon()

    def _hold_back(self, msg_timeout: float) -> None:
        """Fetch no more than is asked for."""
        now = asyncio.get_running_loop().time()
        self._prefetch.lose_trust(now, msg_timeout, self._max_in_flight)
        self._inbox.on_wait = self._steer_soon
        self._is_held_back = True
        self._limit()

    def _let_go(self) -> None:
        """Fetch ahead again."""
        self._inbox.on_wait = None
        self._is_held_back = False

    def _steer_soon(self) -> None:
        if not self._steer_is_due:
            self._steer_is_due = True
            asyncio.get_running_loop().call_soon(self._limit)

    def _steer(self) -> None:
        """Send the RDYs that have changed, and see when to look again."""
        self._steer_is_due = False
        if self._is_closing:
            return
        loop = asyncio.get_running_loop()
        if self._is_held_back and self._prefetch.expire(loop.time()):
            self._let_go()
            self._limit()
            return
        for share in self._counts.distribute(loop.time()):
            self._subscriptions[share].send_rdy()
        self._watches_answers = self._counts.short or self._is_held_back
        if self._steer_timer is not None:
            self._steer_timer.cancel()
        times = [self._counts.next_at]
        if self._backoff is not None and self._backoff.phase is Phase.WAITING:
            times.append(self._backoff.until)
        due = [at for at in times if at is not None]
        self._steer_timer = loop.call_at(min(due), self._tick) if due else None

    def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        if self._backoff is not None and self._backoff.expire(now):
            self._limit()
        else:
            self._steer()


async def _outcome(handler: Handler, message: Message) -> BaseException | None:
    """Return how a handler ends, in a task of its own: if it cancels that, nothing else ends."""

    async def call() -> BaseException | None:
        begun = collect_begun(handler)
        try:
            await settle(handler(message), begun)
        except BaseException as exc:  # there are many ways to end
            return exc
        return None

    try:
        return await asyncio.create_task(call(), name="nsqx call of on_give_up")
    except asyncio.CancelledError as exc:
        return exc


async def _limited(
    handler: Handler, begun: "list[asyncio.Task[Any]]", seconds: float, message: Message
) -> None:
    async with asyncio.timeout(seconds):
        await settle(handler(message), begun)


async def _cancelled(tasks: "set[asyncio.Task[Any]]") -> None:
    """
    Cancel tasks and wait for their end, but not for ever: they may take no notice.

    Then nobody waits for them: ``asyncio.run`` would, for all tasks that it knows.
    """
    for task in tasks:
        task.cancel()
    if not tasks:
        return
    _, deaf = await asyncio.wait(tasks, timeout=CANCEL_SECONDS)
    for task in deaf:
        _log.error("%s: does not end, and is left behind", task.get_name())
        asyncio._unregister_task(task)
        task._log_destroy_pending = False  # type: ignore[attr-defined] # it was logged just now


def _left(until: float | None) -> float | None:
    """Return the seconds until then, by the event loop's clock; 0: it is over."""
    return None if until is None else max(until - asyncio.get_running_loop().time(), 0.0)


_now = time.monotonic  # that of the event loop may stand still during a turn
_TRYING = Phase.TRYING  # looked at per message: the members of an enum take longer to find
