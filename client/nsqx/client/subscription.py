"""One connection of a consumer: its messages in flight, and the answers to them."""

import asyncio
import logging
import re
from collections.abc import Container, Iterable
from functools import partial
from typing import Protocol as Interface

from nsqx.client.addresses import Address
from nsqx.client.codecs import Codec
from nsqx.client.connection import Connection
from nsqx.client.errors import RequestFailed
from nsqx.client.message import MakeMessage, Message, Origin
from nsqx.client.ranges import milliseconds
from nsqx.client.ready_counts import Share
from nsqx.net.host_port import format_host_port
from nsqx.protocol import commands
from nsqx.protocol.errors import NsqError

__all__ = ["Subscriber", "Subscription"]

_log = logging.getLogger("nsqx.client")

# nsqd looks for messages whose time is over from time to time. A FIN in between is still good,
# so ours is a little late too.
EXPIRY_GRACE_SECONDS = 5.0
SWEEP_SECONDS_MIN = 0.02
# Of `msg_timeout`. What is in work is touched when a quarter of its time is over, so there is more
# than half of it for whatever is slow between here and nsqd: a busy event loop, host or network.
SWEEP_SHARE = 1 / 8
TOUCH_SHARE = 1 / 4
WAIT_SHARE = 1 / 2  # what nobody has begun with by then goes back
ANSWERED = 0.0  # the deadline of a message that was answered
_NAMED = re.compile(r"FIN ([0-9a-f]{16}) failed")
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
    def untaken(self, messages: Container[Message]) -> list[Message]: ...
    def waited(self, messages: list[Message], msg_timeout: float) -> None: ...
    def worked_long(self, msg_timeout: float) -> None: ...
    def given_back(self, message: Message) -> None: ...
    def finish_refused(self, id: bytes) -> None: ...
    def drained(self) -> None: ...


class Subscription:
    """
    A connection from its opening to its loss.

    It is the ``Listener`` of the connection, the ``Source`` of its messages, and the ``Request``
    that SUB is answered with.
    """

    def __init__(
        self,
        subscriber: Subscriber,
        address: Address,
        expiry_grace: float = EXPIRY_GRACE_SECONDS,
    ) -> None:
        self.address = address
        self.codec: Codec = subscriber.codec
        self.origin: Origin = Origin(subscriber.topic, subscriber.channel, str(address))
        self.in_flight: dict[bytes, Message] = {}  # by id, the next to expire first
        self.share: Share = Share(0, self.in_flight)
        self.is_subscribed: bool = False
        self.make_message: MakeMessage = partial(Message, self)
        self._subscriber = subscriber
        self._expiry_grace = expiry_grace
        self._loop = asyncio.get_running_loop()
        self._connection: Connection | None = None
        self._msg_timeout = 0.0  # seconds
        self._held: set[Message] = set()  # touched as long as someone works on them
        self._touched: set[Message] = set()  # of those: once already
        self._sweep_at = 0.0  # loop time
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._delivery_ended = False

    @property
    def http_address(self) -> str:
        """Where nsqd, by the host that it was reached by, is asked over HTTP; "" if not known."""
        if self._connection is None or not (port := self._connection.negotiated.http_port):
            return ""
        return format_host_port(self.address.host, port)

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
        self._log_work(self._held, "cut off")
        for message in list(self.in_flight.values()):
            message.requeue(0, backoff=False)

    def _log_work(self, messages: Iterable[Message], what: str) -> None:
        """Name messages that someone works on, and that others will get."""
        for message in messages:
            id = message.id.decode(errors="replace")
            _log.warning("%s: message %s, attempt %d: %s", self.address, id, message.attempts, what)

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
        in_flight, id = self.in_flight, message.id
        if in_flight.get(id) is not message:
            return self._take_over(message) and self.finish(message)
        connection = self._connection
        assert connection is not None  # else nothing is in flight
        del in_flight[id]
        message.deadline = 0.0  # `ANSWERED`; here each name costs
        connection.finish(id)
        self._subscriber.finished()
        if self._delivery_ended:
            self._subscriber.drained()
        return True

    def requeue(self, message: Message, delay: float | None, backoff: bool) -> bool:
        if not self.is_open(message) or self._connection is None:
            return self._take_over(message) and self.requeue(message, delay, backoff)
        if delay is None:
            delay = self._subscriber.requeue_delay(message)
        command = commands.req(message.id, milliseconds("delay", delay))
        del self.in_flight[message.id]
        message.deadline = ANSWERED
        # RDY 0 comes before the REQ that caused it: else nsqd may deliver in between.
        self._subscriber.requeued(backoff)
        self._connection.send(command)
        if self._delivery_ended:
            self._subscriber.drained()
        return True

    def _take_over(self, message: Message) -> bool:
        """
        Have an answer count that comes late.

        nsqd knows messages by id and connection: it takes the answer if it has delivered the
        message here again, or has not yet noticed that its time is over. Else it says so.
        """
        if self._connection is None or message.deadline == ANSWERED:
            return False
        again = self.in_flight.get(message.id)
        if again is not None:
            self._subscriber.expired({again})  # nobody needs to begin with it any more
            self._held.discard(again)
            again.deadline = ANSWERED
        self.in_flight[message.id] = message
        return True

    def give_back(self, message: Message) -> None:
        """Return a message that nobody has begun with: to nsqd it is as if it had not been here."""
        if not self.is_open(message) or self._connection is None:
            return
        del self.in_flight[message.id]
        self._held.discard(message)
        self._send_back(message)
        if self._delivery_ended:
            self._subscriber.drained()

    def _send_back(self, message: Message) -> None:
        assert self._connection is not None
        message.deadline = ANSWERED
        if self._connection.negotiated.takes_back:
            self._connection.send(commands.give_back(message.id))
        else:
            self._subscriber.given_back(message)
            self._connection.send(commands.req(message.id, 0))

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
        if isinstance(error, RequestFailed):  # of a lost connection its link tells
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
        # If the event loop was blocked, they may have come as long ago as the sweep is overdue.
        deadline, in_flight = min(now, self._sweep_at) + self._msg_timeout, self.in_flight
        count = len(in_flight) + len(messages)
        for message in messages:
            message.deadline = deadline
            in_flight[message.id] = message
        if len(in_flight) != count:
            messages = self._without_held(messages, deadline)
        self.share.received(now)
        self._subscriber.received(self, messages)

    def _without_held(self, messages: list[Message], deadline: float) -> list[Message]:
        """
        Of messages that nsqd had here before, leave those out that someone works on.

        To nsqd their time was over. The answer to the work under way counts for the new delivery.
        """
        held = {message.id: message for message in self._held}
        for message in messages:
            del self.in_flight[message.id]  # to the end of the order of expiry
            self.in_flight[message.id] = held.get(message.id, message)
            self.in_flight[message.id].deadline = deadline
        return [message for message in messages if message.id not in held]

    def answer_failed(self, code: str, text: str) -> None:
        # Of a FIN: what was done is done again, by someone else, or comes here again.
        level = logging.WARNING if code == "E_FIN_FAILED" else logging.INFO
        _log.log(level, "%s: %s %s", self.address, code, text)
        if code == "E_FIN_FAILED" and (named := _NAMED.search(text)):
            self._subscriber.finish_refused(named[1].encode())

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
        self._log_work(self._held, f"lost in work, {error}")
        lost = set(self.in_flight.values())
        self.in_flight.clear()
        self._held.clear()
        if lost:
            self._subscriber.expired(lost)
        self._subscriber.disconnected(self)

    # Time

    def sweep_if_due(self) -> None:
        """Do what a timer would have done, had the event loop had its turn."""
        if self._sweep_timer is not None and self._loop.time() >= self._sweep_at:
            self._sweep_timer.cancel()
            self._sweep()

    def _sweep(self) -> None:
        now = self._loop.time()
        period = max(self._msg_timeout * SWEEP_SHARE, SWEEP_SECONDS_MIN)
        self._sweep_at = now + period
        self._sweep_timer = self._loop.call_at(self._sweep_at, self._sweep)
        self._touch_held(now)
        self._give_back_waiting(now)
        expired = self._take_expired(now - self._expiry_grace)
        if expired:
            _log.warning("%s: %d messages were not answered in time", self.address, len(expired))
            self._subscriber.expired(expired)

    def _touch_held(self, now: float) -> None:
        until = now + self._msg_timeout * (1 - TOUCH_SHARE)
        late = {message for message in self._held if message.deadline <= until}
        are_long = not late.isdisjoint(self._touched)
        self._touched &= self._held
        for message in late:
            if self.touch(message):
                self._touched.add(message)
            else:
                self._log_work((message,), "not in time, others have it")
                self._held.discard(message)
        if are_long:
            self._subscriber.worked_long(self._msg_timeout)

    def _give_back_waiting(self, now: float) -> None:
        soon = now + self._msg_timeout * WAIT_SHARE
        late = set()
        for message in self.in_flight.values():
            if message.deadline > soon:
                break
            late.add(message)
        if not late:
            return
        waiting = self._subscriber.untaken(late)
        if not waiting:
            return
        for message in waiting:
            del self.in_flight[message.id]
        self._subscriber.waited(waiting, self._msg_timeout)
        # What is over was nsqd's to take back: the event loop was blocked for so long.
        lost = {message for message in waiting if message.deadline <= now}
        for message in waiting:
            if message not in lost:
                self._send_back(message)
        if lost:
            self._subscriber.expired(lost)

    def _take_expired(self, until: float) -> set[Message]:
        expired = set()
        for message in self.in_flight.values():
            if message.deadline > until:
                break
            expired.add(message)
        for message in expired:
            del self.in_flight[message.id]
        return expired
