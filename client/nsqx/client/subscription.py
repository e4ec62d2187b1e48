"""One connection of a consumer: its messages in flight, and the answers to them."""

import asyncio
import logging
from functools import partial
from typing import Protocol as Interface

from nsqx.client.addresses import Address
from nsqx.client.codecs import Codec
from nsqx.client.connection import Connection
from nsqx.client.message import MakeMessage, Message
from nsqx.client.ready_counts import Share
from nsqx.protocol import commands
from nsqx.protocol.errors import NsqError

__all__ = ["Subscriber", "Subscription"]

_log = logging.getLogger("nsqx.client")

# nsqd looks for messages whose time is over from time to time. A FIN in between is still good,
# so ours is a little late too.
EXPIRY_GRACE_SECONDS = 5.0
SWEEP_SECONDS_MIN = 0.1
CLOSE_WAIT_SECONDS = 2.0  # nsqd answers CLS at once, or is not well


class Subscriber(Interface):
    """The consumer that a subscription belongs to."""

    topic: str
    channel: str
    codec: Codec

    def connected(self, subscription: "Subscription") -> None: ...
    def subscribed(self, subscription: "Subscription") -> None: ...
    def disconnected(self, subscription: "Subscription") -> None: ...
    def received(self, subscription: "Subscription", messages: list[Message]) -> None: ...
    def finished(self) -> None: ...
    def requeued(self, is_failure: bool) -> None: ...
    def requeue_delay(self, message: Message) -> float: ...
    def expired(self, messages: set[Message]) -> None: ...
    def drained(self) -> None: ...


class Subscription:
    """
    A connection from its opening to its loss.

    It is the ``Listener`` of the connection, the ``Source`` of its messages, and the ``Request``
    that SUB is answered with.
    """

    def __init__(self, subscriber: Subscriber, address: Address) -> None:
        self.address = address
        self.codec: Codec = subscriber.codec
        self.in_flight: dict[bytes, Message] = {}  # by id, the next to expire first
        self.share: Share = Share(0, self.in_flight)
        self.is_subscribed: bool = False
        self.make_message: MakeMessage = partial(Message, self)
        self._subscriber = subscriber
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._msg_timeout = 0.0  # seconds
        self._held: set[Message] = set()  # touched as long as someone works on them
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._delivery_ended = False

    # Commands

    def send_rdy(self) -> None:
        """Tell nsqd the present ``share.rdy``."""
        if self._connection is not None:
            self._connection.send(commands.rdy(self.share.rdy))

    def begin_close(self) -> None:
        """Have nsqd deliver nothing more; messages in flight may still be answered."""
        if self._connection is not None and self.is_subscribed:
            self._connection.send(commands.cls())
            self._close_timer = self._loop.call_later(CLOSE_WAIT_SECONDS, self.close_wait)
        else:
            self._delivery_ended = True

    def is_drained(self, *, but_for_held: bool) -> bool:
        """
        After ``begin_close``: whether nothing comes any more and nothing need be answered.

        Args:
            but_for_held: only messages that someone works on count as unanswered.
        """
        unanswered = self._held if but_for_held else self.in_flight
        return self._connection is None or (self._delivery_ended and not unanswered)

    def requeue_rest(self) -> None:
        """Requeue what is still not answered, so that others get it at once."""
        for message in list(self.in_flight.values()):
            message.requeue(0, backoff=False)

    async def close(self) -> None:
        """Send the last answers and close the connection."""
        if self._connection is not None:
            await self._connection.close()

    def abort(self) -> None:
        """Close the connection at once."""
        if self._connection is not None:
            self._connection.abort()

    # Source: answers to messages

    def is_open(self, message: Message) -> bool:
        # The object is compared, because nsqd may have delivered the same id here again.
        return self.in_flight.get(message.id) is message

    def finish(self, message: Message) -> bool:
        if self.in_flight.get(message.id) is not message or self._connection is None:
            return False
        del self.in_flight[message.id]
        self._connection.finish(message.id)
        self._subscriber.finished()
        if self._delivery_ended:
            self._subscriber.drained()
        return True

    def requeue(self, message: Message, delay: float | None, backoff: bool) -> bool:
        if not self.is_open(message) or self._connection is None:
            return False
        if delay is None:
            delay = self._subscriber.requeue_delay(message)
        command = commands.req(message.id, round(delay * 1000))
        del self.in_flight[message.id]
        # RDY 0 comes before the REQ that caused it: else nsqd may deliver in between.
        self._subscriber.requeued(backoff)
        self._connection.send(command)
        if self._delivery_ended:
            self._subscriber.drained()
        return True

    def touch(self, message: Message) -> bool:
        if not self.is_open(message) or self._connection is None:
            return False
        self._connection.send(commands.touch(message.id))
        message.deadline = self._loop.time() + self._msg_timeout
        del self.in_flight[message.id]  # to the end of the order of expiry
        self.in_flight[message.id] = message
        return True

    def hold(self, message: Message) -> None:
        self._held.add(message)

    def release(self, message: Message) -> None:
        self._held.discard(message)

    # Request: the answer to SUB

    def confirm(self) -> None:
        assert self._connection is not None
        self.is_subscribed = True
        self.share.max_rdy = self._connection.negotiated.max_rdy_count
        self._subscriber.subscribed(self)

    def fail(self, error: NsqError) -> None:
        _log.warning("%s: SUB failed: %s", self.address, error)

    # Listener

    def connection_opened(self, connection: Connection) -> None:
        self._connection = connection
        self._msg_timeout = connection.negotiated.msg_timeout_seconds
        subscriber = self._subscriber
        connection.request(self, commands.sub(subscriber.topic, subscriber.channel))
        self._sweep()
        subscriber.connected(self)

    def messages_received(self, messages: list[Message]) -> None:
        now = self._loop.time()
        deadline, in_flight = now + self._msg_timeout, self.in_flight
        for message in messages:
            message.deadline = deadline
            in_flight[message.id] = message
        self.share.received(now)
        self._subscriber.received(self, messages)

    def answer_failed(self, code: str, text: str) -> None:
        _log.info("%s: %s %s", self.address, code, text)

    def close_wait(self) -> None:
        self._delivery_ended = True
        self._subscriber.drained()

    def progressed(self) -> None:
        """Nothing waits for this: answers are bounded by the messages in flight."""

    def connection_lost(self, error: NsqError) -> None:
        for timer in (self._sweep_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self._connection = None
        lost = set(self.in_flight.values())
        self.in_flight.clear()
        self._held.clear()
        if lost:
            self._subscriber.expired(lost)
        self._subscriber.disconnected(self)

    # Time

    def _sweep(self) -> None:
        now = self._loop.time()
        self._touch_held(now)
        expired = self._take_expired(now - EXPIRY_GRACE_SECONDS)
        if expired:
            _log.warning("%s: %d messages were not answered in time", self.address, len(expired))
            self._subscriber.expired(expired)
        period = max(self._msg_timeout / 4, SWEEP_SECONDS_MIN)
        self._sweep_timer = self._loop.call_later(period, self._sweep)

    def _touch_held(self, now: float) -> None:
        soon = now + self._msg_timeout / 2
        for message in [message for message in self._held if message.deadline <= soon]:
            if not self.touch(message):
                self._held.discard(message)

    def _take_expired(self, until: float) -> set[Message]:
        expired = set()
        for message in self.in_flight.values():
            if message.deadline > until:
                break
            expired.add(message)
        for message in expired:
            del self.in_flight[message.id]
        return expired
